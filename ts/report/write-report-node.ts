import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DeftuneError } from '../error.js';
import { writeFileAtomic } from '../io/files-node.js';
import type { CompareResult } from './compare-result.js';
import { renderReport } from './report.js';

/**
 * Writes `report.html` and `report.json` into `folder`, creating it when it is missing.
 *
 * @returns the path of `report.html`
 * @throws DeftuneError naming the path when the folder cannot be made or written to
 */
export function writeReport(folder: string, result: CompareResult): string {
  const html = renderReport(result);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DeftuneError(`${folder}: cannot create the report folder: ${why}`, { cause });
  }
  const path = join(folder, 'report.html');
  writeFileAtomic(join(folder, 'report.json'), JSON.stringify(result, null, 2) + '\n');
  writeFileAtomic(path, html);
  return path;
}
