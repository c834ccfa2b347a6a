// The grids of the paper and what is known of its figures.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { readGrid, gridNames, withModules } from '../../ts/cli/reproduce/grid.js';
import { paperFigures } from '../../ts/cli/reproduce/paper-figures.js';
import { planGrid } from '../../ts/cli/reproduce/plan.js';
import { timeLeft } from '../../ts/cli/reproduce/time-left.js';
import type { PlannedRun } from '../../ts/cli/reproduce/run-store.js';
import { gridRows } from '../../ts/report/grid-table.js';
import { run } from '../report/sample.js';

const read = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../assets/paper/${path}`, import.meta.url), 'utf8'));

test('every grid is readable, and its settings are options', (t) => {
  t.deepEqual(gridNames().sort(), ['figure1', 'figure2', 'glue', 'table1', 'table2']);
  const here = () => ({ path: 'there', standIn: undefined });
  for (const name of gridNames()) {
    const grid = readGrid(name);
    const { cells, runs, skipped } = planGrid(grid, { model: here, data: here }, grid.seeds, {});
    t.true(cells.length > 0, name);
    t.is(runs.length, cells.length * 2 * grid.seeds.length);
    t.deepEqual(skipped, []);
    for (const { variant, settings } of runs) {
      t.is(settings['alpha'], variant === 'DEFT' ? 1 : undefined);
      t.is(settings['density'] === undefined, variant === 'PEFT');
    }
  }
  t.is(readGrid('glue').cells.length, 2 * 8 * 4);
  t.is(withModules(readGrid('glue'), ['lora']).cells.length, 2 * 8);
});

test('what only DEFT reads is no setting of a plain run, and is of its partner', (t) => {
  const here = () => ({ path: 'there', standIn: undefined });
  const given = { alpha: 3, maxMetricDrop: 1, layerGates: true, gatePenalty: 0.1, encoderWeight: 2, maxSteps: 7 };
  const { runs } = planGrid(readGrid('table1'), { model: here, data: here }, [1], given);
  t.like(runs[1]?.settings, given);
  const { maxSteps, ...density } = given;
  t.is(runs[0]?.settings['maxSteps'], maxSteps);
  for (const name of Object.keys(density)) t.false(name in (runs[0]?.settings ?? {}), name);
});

test('each figure of the paper names its source, and stands at places of the catalogue', (t) => {
  const catalogue = read('catalogue.json') as Record<'models' | 'datasets' | 'modules', Record<string, unknown>>;
  const { sources, figures } = read('figures.json') as {
    sources: Record<string, string>;
    figures: ({ source: string } & Partial<Record<'models' | 'datasets' | 'modules', string[]>>)[];
  };
  t.true(figures.length > 0);
  for (const figure of figures) {
    t.is(typeof sources[figure.source], 'string');
    for (const kind of ['models', 'datasets', 'modules'] as const) {
      for (const name of figure[kind] ?? []) t.true(name in catalogue[kind], `${kind} ${name}`);
    }
  }
  t.deepEqual(Object.keys(sources).sort(), [...new Set(figures.map(({ source }) => source))].sort());
});

test('the figures of a cell', (t) => {
  const cells = readGrid('table1').cells;
  const of = (model: string, module: string) =>
    paperFigures(cells.find((cell) => cell.model.name === model && cell.module.name === module)!);
  t.deepEqual(
    of('t5-base', 'adapter').map(({ side, change }) => [side, change]),
    [
      ['encoder', '47.77 on average'],
      ['decoder', '81.82 on average'],
    ],
  );
  // (99.99 − 61.53) / 99.99
  t.deepEqual(
    of('flan-t5-xl', 'lora').map(({ change }) => change),
    ['38.46 (99.99 to 61.53)', '81.29 (99.96 to 18.70)'],
  );
  t.deepEqual(of('flan-t5-xl', 'adapter'), []);
  t.deepEqual(of('t5-small', 'lora'), []);
});

test('the table: sides of an encoder-decoder, and sources by number', (t) => {
  const group = {
    ...{ model: 'T5', modelStandIn: 't5-mini', dataset: 'SQuAD', module: 'LoRA' },
    ...{ method: '', density: '', trainExamples: 1, validExamples: 1 },
    runs: [
      run('PEFT', 1, { metric: 0.5, density: 0.4, encoderDensity: 0.5, decoderDensity: 0.3 }),
      run('DEFT', 1, { metric: 0.4, density: 0.1, encoderDensity: 0.125, decoderDensity: 0.075 }),
    ],
    paper: [
      { side: 'encoder' as const, change: '47.77', source: 'A' },
      { side: undefined, change: 'up to 50', source: 'B' },
    ],
  };
  const { rows, sources } = gridRows({ groups: [group, { ...group, runs: [], paper: [] }] });
  t.deepEqual(sources, ['A', 'B']);
  t.deepEqual(rows, [
    ['T5 (t5-mini)', 'SQuAD', 'LoRA', 'accuracy', '50.00', '40.00', '40.00', '10.00', '75.00', 'up to 50 [2]', '1, 1'],
    ['', '', 'encoder', '', '', '', '50.00', '12.50', '75.00', '47.77 [1]', ''],
    ['', '', 'decoder', '', '', '', '30.00', '7.50', '75.00', '–', ''],
    ['T5 (t5-mini)', 'SQuAD', 'LoRA', 'metric', '–', '–', '–', '–', '–', '–', '0, 0'],
  ]);
});

test('the time left: as the runs of the same model and data, else as all', (t) => {
  const grid = readGrid('figure2');
  const [bert, t5] = [grid.cells[0]!, grid.cells[1]!];
  const planned = (cell: PlannedRun['cell']): PlannedRun => ({ cell, variant: 'PEFT', seed: 1, settings: {} });
  t.is(timeLeft([], [planned(bert)]), undefined);
  const finished = [
    { run: planned(bert), seconds: 10 },
    { run: planned(bert), seconds: 20 },
  ];
  t.is(timeLeft(finished, [planned(bert), planned(t5)]), 30);
  t.is(timeLeft([...finished, { run: planned(t5), seconds: 60 }], [planned(bert), planned(t5)]), 75);
});
