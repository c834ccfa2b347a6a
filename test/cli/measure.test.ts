// eval, density, compare, demo: what measures.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { fixture, modelWith, recordsOf } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface LayerDensity {
  name: string;
  density: number;
}

onBothBackends('eval: loss and metrics on the records of a file', async (t, backend) => {
  const folder = temporaryFolder(t);
  const { model, adapter, expected } = fixture('relu');
  const batch = expected.training.batches.slice(0, 1);
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(batch));
  const paths = ['--model', model, '--adapter', adapter, '--valid-file', records, '--backend', backend];
  const result = await runJson(t, ['eval', ...paths]);
  const first = expected.training['none']?.steps[0];
  // Before its first update a run has the loss and the density of an evaluation of the same batch.
  t.true(Math.abs((result['loss'] as number) - (first?.loss ?? 0)) < 1e-4);
  t.true(Math.abs((result['density'] as number) - (first?.density ?? 0)) < 1e-3);
  const layers = result['layerDensity'] as LayerDensity[];
  t.is(layers.length, 2);
  t.true(Math.abs(layers.reduce((sum, { density }) => sum + density, 0) / 2 - (result['density'] as number)) < 1e-9);

  const output = join(folder, 'out.jsonl');
  await runDeftune(t, ['predict', '--model', model, '--adapter', adapter, '--input', records, '--output', output]);
  const answers = readLines<{ label: string }>(output).map(({ label }) => label);
  const right = recordsOf(batch).filter(({ label }, i) => answers[i] === `LABEL_${label}`);
  t.is(result['accuracy'], right.length / answers.length);
  t.is(typeof (await runJson(t, ['eval', ...paths, '--metric', 'f1']))['f1'], 'number');
  const { stdout } = await runDeftune(t, ['eval', ...paths]);
  t.regex(stdout, /^accuracy \d+\.\d\d %, loss \d\.\d{4}, density \d\d\.\d\d % on 4 examples\n$/);
});

test('eval: a model with one label is scored as regression, whole targets included', async (t) => {
  const folder = temporaryFolder(t);
  const { model, adapter, expected } = fixture('silu');
  const records = recordsOf(expected.training.batches.slice(0, 4));
  const paths = ['eval', '--model', model, '--adapter', adapter, '--valid-file'];
  const result = await runJson(t, [...paths, writeLines(join(folder, 'a.jsonl'), records)]);
  t.true(Math.abs(result['pearson'] as number) <= 1);
  const whole = records.map((record) => ({ ...record, label: Math.round(record.label * 3) }));
  const rounded = await runJson(t, [...paths, writeLines(join(folder, 'b.jsonl'), whole)]);
  t.true(Math.abs(rounded['pearson'] as number) <= 1);
  t.is(rounded['accuracy'], undefined);
});

test('eval: class names of the model, and a file that lacks a class', async (t) => {
  const folder = temporaryFolder(t);
  const model = modelWith(folder, 'gelu', { id2label: { 0: 'a', 1: 'b', 2: 'c' } });
  const named = writeLines(join(folder, 'named.jsonl'), [
    { inputIds: [1], label: 'c' },
    { inputIds: [2], label: 'a' },
  ]);
  const numbered = writeLines(join(folder, 'numbered.jsonl'), [
    { inputIds: [1], label: 2 },
    { inputIds: [2], label: 0 },
  ]);
  const [byName, byNumber, unnamed] = await Promise.all([
    runJson(t, ['eval', '--model', model, '--valid-file', named]),
    runJson(t, ['eval', '--model', model, '--valid-file', numbered]),
    runJson(t, ['eval', '--model', fixture('gelu').model, '--valid-file', numbered]),
  ]);
  t.is(byName['loss'], byNumber['loss']);
  t.is(unnamed['loss'], byNumber['loss']);
});

test('density: by layer, over the real tokens, with or without labels', async (t) => {
  const folder = temporaryFolder(t);
  const { model, adapter, expected } = fixture('relu');
  const batch = expected.training.batches[0]?.inputIds ?? [];
  const input = writeLines(
    join(folder, 'in.jsonl'),
    batch.map((inputIds) => ({ inputIds })),
  );
  const paths = ['density', '--model', model, '--adapter', adapter, '--input', input];
  const result = await runJson(t, paths);
  t.like(result, { examples: 4, tokens: batch.flat().length, truncated: 0 });
  t.true(Math.abs((result['density'] as number) - (expected.training['none']?.steps[0]?.density ?? 0)) < 1e-3);
  const layers = result['layerDensity'] as LayerDensity[];
  t.deepEqual(
    layers.map(({ name }) => name),
    ['encoder.layer.0', 'encoder.layer.1'],
  );
  const { stdout } = await runDeftune(t, paths);
  for (const { name, density } of layers) {
    t.regex(stdout, new RegExp(`${name.replaceAll('.', '\\.')} .* ${(density * 100).toFixed(2)} %`));
  }
  t.regex(stdout, new RegExp(`mean .* ${((result['density'] as number) * 100).toFixed(2)} %`));
});

test('density --detail: thresholds, tokens, neurons, work and time', async (t) => {
  const folder = temporaryFolder(t);
  const model = fileURLToPath(new URL('../../assets/bert-mini-relu', import.meta.url));
  const input = writeLines(join(folder, 'in.jsonl'), [{ text: 'a lovely film' }, { text: 'dull' }]);
  const args = ['density', '--model', model, '--input', input, '--detail'];
  const result = await runJson(t, [...args, '--thresholds', '0,1']);
  const detail = result['detail'] as {
    layers: { density: number; thresholded: { density: number }[]; byPosition: number[]; specialTokens: number }[];
    mean: { density: number };
    energyRatio: number;
    skipped: number;
    mlp: number;
    downProjections: { sparse: number; dense: number };
  };
  for (const [index, layer] of detail.layers.entries()) {
    t.true(Math.abs(layer.density - ((result['layerDensity'] as LayerDensity[])[index]?.density ?? 0)) < 1e-12);
    t.is(layer.thresholded[0]?.density, layer.density);
    t.true((layer.thresholded[1]?.density ?? 1) < layer.density && layer.specialTokens > 0);
  }
  // [CLS] and words: as many positions as the longer text has tokens.
  t.true((detail.layers[0]?.byPosition.length ?? 0) >= 5);
  t.true(Math.abs(detail.energyRatio - (detail.mlp - detail.skipped) / detail.mlp) < 1e-12 && detail.energyRatio < 1);
  t.true(detail.downProjections.sparse > 0 && detail.downProjections.dense > 0);
  const tables = join(folder, 'tables');
  const { stdout } = await runDeftune(t, [...args, '--csv', tables]);
  const rows = (name: string): string[][] =>
    readFileSync(join(tables, name), 'utf8')
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split(','));
  for (const [index, [, side, , neurons, density]] of rows('layers.csv').entries()) {
    t.is(side, 'encoder');
    t.is(Number(density), detail.layers[index]?.density ?? Number.NaN);
    const own = rows('neurons.csv').filter(([layer]) => layer === `encoder.layer.${index}`);
    t.is(own.length, Number(neurons));
    t.true(Math.abs(own.reduce((sum, row) => sum + Number(row[3]), 0) / own.length - Number(density)) < 1e-6);
  }
  t.is(rows('positions.csv').length, 3 * (detail.layers[0]?.byPosition.length ?? 0));
  t.true(Math.abs(detail.mean.density - (result['density'] as number)) < 1e-12);
  for (const words of [
    '|o| > 0.01 %',
    'special tokens %',
    'always on',
    'multiply-adds',
    'with zero-skip',
    '│ mean ',
    'mean density',
  ])
    t.true(stdout.includes(words), words);
});

test('compare: PEFT and DEFT from the same seeds, the table, JSON and a self-contained report', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const out = join(folder, 'report');
  const args = ['compare', '--model', model, '--train-file', records, '--valid-file', records, '--out', out];
  const run = [...args, '--seeds', '1,5', '--max-steps', 12, '--alpha', 0.5, '--lr', 0.01];
  const { stdout, stderr } = await runDeftune(t, run);
  t.regex(stdout, /PEFT │ +\d+\.\d\d ± \d+\.\d\d │ +\d+\.\d\d ± \d+\.\d\d │ +– │/);
  t.regex(stdout, /DEFT │ +\d+\.\d\d ± \d+\.\d\d │ +\d+\.\d\d ± \d+\.\d\d │ +-?\d+\.\d\d ± \d+\.\d\d │/);
  t.regex(stdout, /density: tanh, feature map, alpha 0\.5, beta 20/);
  t.regex(stdout, /\nreport: .*report\.html\n$/);
  t.regex(stderr, /DEFT seed 5 \(4 of 4\) 12\/12/);

  const report = JSON.parse(readFileSync(join(out, 'report.json'), 'utf8')) as {
    runs: { variant: string; seed: number; density: number; log: { densityLoss: number; taskLoss: number }[] }[];
  };
  t.deepEqual(
    report.runs.map(({ variant, seed }) => `${variant} ${seed}`),
    ['PEFT 1', 'DEFT 1', 'PEFT 5', 'DEFT 5'],
  );
  for (const { variant, log } of report.runs) {
    t.is(log.length, 12);
    t.true(log.every(({ densityLoss }) => densityLoss > 0 === (variant === 'DEFT')));
  }
  // From the same seed both start from the same weights with the same batch.
  t.is(report.runs[0]?.log[0]?.taskLoss, report.runs[1]?.log[0]?.taskLoss);
  t.not(report.runs[0]?.log[0]?.taskLoss, report.runs[2]?.log[0]?.taskLoss);

  const html = readFileSync(join(out, 'report.html'), 'utf8');
  t.true(html.includes('<svg') && html.includes('Density by layer'));
  t.notRegex(html, /<script|<link|<img|@import|url\(/i);
  t.deepEqual([...html.matchAll(/(?:src|href)="([^"#]*)"/g)], []);

  const json = await runJson(t, [...args, '--seeds', '1', '--max-steps', 2]);
  const summary = json['summary'] as { densityChange: { mean: number }; peft: { density: { mean: number } } };
  const [peft, deft] = json['runs'] as { density: number }[];
  const change = (((peft?.density ?? 0) - (deft?.density ?? 0)) / (peft?.density ?? 0)) * 100;
  t.true(Math.abs(summary.densityChange.mean - change) < 1e-9);
  t.is(json['report'], join(out, 'report.html'));
});

test('compare: several alphas are a sweep', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const out = join(folder, 'report');
  const args = ['compare', '--model', model, '--train-file', records, '--valid-file', records, '--out', out];
  const run = [...args, '--seeds', '1', '--max-steps', 4, '--lr', 0.01, '--alpha'];
  const { stdout, stderr } = await runDeftune(t, [...run, '0.1,2']);
  for (const name of ['PEFT', 'DEFT, alpha 0.1', 'DEFT, alpha 2']) t.true(stdout.includes(`│ ${name} `), name);
  t.regex(stderr, /DEFT alpha 2 seed 1 \(3 of 3\) 4\/4/);
  const html = readFileSync(join(out, 'report.html'), 'utf8');
  t.true(html.includes('the Pareto front') && html.includes('Activations before and after'));
  const lines = readFileSync(join(out, 'runs.csv'), 'utf8').split('\n');
  t.deepEqual(
    lines.map((line) => line.split(',').slice(0, 3).join(' ')),
    ['variant alpha seed', 'PEFT  1', 'DEFT 0.1 1', 'DEFT 2 1', ''],
  );
  const json = await runJson(t, [...run, '0.1,2']);
  t.deepEqual(
    (json['sweep'] as { alpha: number; pairedSeeds: number[] }[]).map(({ alpha, pairedSeeds }) => [alpha, pairedSeeds]),
    [
      [0.1, [1]],
      [2, [1]],
    ],
  );
  const twice = await runDeftune(t, [...run, '1,1'], { code: 1 });
  t.is(twice.stderr, 'error: --alpha has 1 twice, expected it once\n');
  const budget = await runDeftune(t, [...run, '1,2', '--max-metric-drop', 1], { code: 1 });
  t.regex(budget.stderr, /^error: --alpha is 1,2, expected one with a budget/);
});

test('demo: PEFT against DEFT on what is bundled', async (t) => {
  const folder = temporaryFolder(t);
  // One epoch: the whole is for people to watch.
  const { stdout, stderr } = await runDeftune(t, ['demo', '--epochs', 1], { cwd: folder });
  for (const column of ['accuracy %', 'density %', 'density change %', 'seconds']) t.true(stdout.includes(column));
  t.regex(stdout, /│ PEFT │ +\d\d\.\d\d │ +\d\d\.\d\d │ +– │ +\d+\.\d │/);
  t.regex(stdout, /│ DEFT │ +\d\d\.\d\d │ +\d+\.\d\d │ +-?\d+\.\d\d │ +\d+\.\d │/);
  t.regex(stdout, /\nreport: deftune-report\/report\.html\n$/);
  t.true(readFileSync(join(folder, 'deftune-report/report.html'), 'utf8').includes('bert-mini-relu (bundled)'));
  t.true(stderr.split('\n').filter((line) => /^(PEFT|DEFT) seed 0 /.test(line)).length <= 20);
  t.notRegex(stderr, /\r|\u001b/);
});
