import { join } from 'node:path';
import { writeFilesAtomic } from '../io/files-node.js';
import type { CompareResult } from './compare-result.js';
import { gridFigures, renderGridReport } from './grid-report.js';
import type { GridResult } from './grid-result.js';
import { renderReport, runFigures } from './report.js';
import { runTables } from './run-tables.js';
import { summarize } from './summarize.js';
import { svgFile } from './svg-file.js';

/**
 * Writes `report.html`, `report.json`, each figure as an `.svg` and what they show as `.csv` into `folder`, creating it when it is missing.
 *
 * @returns the path of `report.html`
 * @throws DeftuneError naming the path when the folder cannot be made or written to
 */
export function writeReport(folder: string, result: CompareResult): string {
  const { metricName } = summarize(result);
  const files = new Map([
    ['report.json', JSON.stringify(result, null, 2) + '\n'],
    ['report.html', renderReport(result)],
    ...runFigures(result.runs, metricName).map((figure) => [`${figure.id}.svg`, svgFile(figure)] as const),
    ...runTables(
      [],
      result.runs.map((run) => ({ labels: [], run })),
    ),
  ]);
  writeFilesAtomic(folder, files);
  return join(folder, 'report.html');
}

/** As {@link writeReport}, of a grid. */
export function writeGridReport(folder: string, result: GridResult): string {
  const files = new Map([
    ['report.json', JSON.stringify(result, null, 2) + '\n'],
    ['report.html', renderGridReport(result)],
    ...gridFigures(result).map((figure) => [`${figure.id}.svg`, svgFile(figure)] as const),
    ...runTables(
      ['model', 'dataset', 'module'],
      result.groups.flatMap(({ model, dataset, module, runs }) =>
        runs.map((run) => ({ labels: [model, dataset, module], run })),
      ),
    ),
  ]);
  writeFilesAtomic(folder, files);
  return join(folder, 'report.html');
}
