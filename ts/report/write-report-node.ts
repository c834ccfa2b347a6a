import { join } from 'node:path';
import { writeFilesAtomic } from '../io/files-node.js';
import type { CompareResult } from './compare-result.js';
import { renderReport } from './report.js';

/**
 * Writes `report.html` and `report.json` into `folder`, creating it when it is missing.
 *
 * @returns the path of `report.html`
 * @throws DeftuneError naming the path when the folder cannot be made or written to
 */
export function writeReport(folder: string, result: CompareResult): string {
  const files = new Map([
    ['report.json', JSON.stringify(result, null, 2) + '\n'],
    ['report.html', renderReport(result)],
  ]);
  writeFilesAtomic(folder, files);
  return join(folder, 'report.html');
}
