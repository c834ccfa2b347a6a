import test from 'ava';
import { parseHTML } from 'linkedom';
import { GRID_FIGURES, type GridResult } from '../../ts/report/grid-result.js';
import { gridFigures, renderGridReport } from '../../ts/report/grid-report.js';
import { gridTable } from '../../ts/report/grid-table.js';
import { run } from './sample.js';

const hostile = '</title><img src=x onerror="a"> & \u001b[31m';
const group = {
  ...{ model: hostile, modelStandIn: hostile, dataset: hostile, dataStandIn: hostile, module: hostile },
  ...{ method: hostile, density: hostile, trainExamples: 1000, validExamples: 10 },
  runs: [run('PEFT', 1, { warnings: [hostile] }), run('DEFT', 1)],
  paper: [{ side: undefined, change: hostile, source: hostile }],
};
const result: GridResult = {
  ...{ version: hostile, date: hostile, machine: hostile, command: hostile, title: hostile },
  figures: GRID_FIGURES,
  groups: [group, { ...group, dataset: 'SST-2' }, { ...group, runs: [] }],
  skipped: [{ what: hostile, reason: hostile }],
  failed: [{ what: hostile, reason: hostile }],
  ...{ runsDone: 4, runsPlanned: 6 },
};

test('every string is escaped, figures included; nothing is loaded or run', (t) => {
  const html = renderGridReport(result);
  t.false(html.includes('<img'));
  t.false(/<script|<link|<iframe|@import|url\(/i.test(html));
  const { document } = parseHTML(html);
  t.is(document.querySelector('h1')?.textContent?.includes('<img'), true);
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  t.is(new Set(ids).size, ids.length);
  t.true(html.includes('4 of 6 runs'));
});

test('bars by data set, and the figures of each group that has runs', (t) => {
  const figures = gridFigures(result);
  t.deepEqual(
    figures.map(({ id }) => id),
    [
      ...['density-by-dataset-1', 'metric-by-dataset-1'],
      ...['density-by-layer-1', 'task-loss-1', 'density-during-training-1', 'trade-off-1', 'time-and-density-1'],
      ...['density-by-layer-2', 'task-loss-2', 'density-during-training-2', 'trade-off-2', 'time-and-density-2'],
    ],
  );
  for (const { svg } of figures) t.false(/NaN|undefined/.test(svg));
  const bars = figures[0]!.svg;
  t.true(bars.includes('SST-2 PEFT 6.00, DEFT 2.00'));
  t.is(bars.match(/<rect/g)?.length, 4);
  t.deepEqual(gridFigures({ ...result, figures: [] }), []);
});

test('the terminal gets no control characters, what was skipped and what failed', (t) => {
  const text = gridTable(result);
  t.false(text.includes('\u001b'));
  t.true(text.includes('\nskipped: ') && text.includes(' failed: ') && text.endsWith('4 of 6 runs done'));
  t.true(gridTable({ ...result, groups: [] }).includes('4 of 6'));
});
