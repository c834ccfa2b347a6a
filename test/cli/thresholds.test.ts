// calibrate, --activation-thresholds and --activation: files, what later commands do with them, bad input.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { bundled, fixture, recordsOf } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface Layer {
  name: string;
  threshold: number;
  error: number;
  density: number;
  densityBefore: number;
}

/** Labelled records of the small models, in a file. */
function recordsIn(folder: string, variant: string): string {
  return writeLines(join(folder, 'records.jsonl'), recordsOf(fixture(variant).expected.training.batches));
}

onBothBackends('calibrate, then eval, predict and density with its file', async (t, backend) => {
  const folder = temporaryFolder(t);
  const { model, adapter } = fixture('gelu');
  const records = recordsIn(folder, 'gelu');
  const out = join(folder, 'thresholds.json');
  const paths = ['--model', model, '--adapter', adapter, '--backend', backend];
  const result = await runJson(t, ['calibrate', ...paths, '--train-file', records, '--max-error', 0.2, '--out', out]);
  const layers = result['layers'] as Layer[];
  t.deepEqual(
    layers.map(({ name }) => name),
    ['encoder.layer.0', 'encoder.layer.1'],
  );
  for (const { error, density, densityBefore, threshold } of layers) {
    t.true(error > 0.02 && error <= 0.2 && threshold > 0 && density < densityBefore);
  }
  const file = JSON.parse(readFileSync(out, 'utf8')) as { thresholds: Record<string, number>; goal: unknown };
  t.deepEqual(file.thresholds, Object.fromEntries(layers.map(({ name, threshold }) => [name, threshold])));
  t.deepEqual(file.goal, { maxError: 0.2 });

  const data = ['--valid-file', records];
  const before = await runJson(t, ['eval', ...paths, ...data]);
  const after = await runJson(t, ['eval', ...paths, ...data, '--activation-thresholds', out]);
  // The same records, but the second layer's input is changed by the first one's threshold.
  t.true((after['density'] as number) < (before['density'] as number) - 0.2);
  const first = (result: Record<string, unknown>): number => (result['layerDensity'] as Layer[])[0]?.density ?? 0;
  t.true(Math.abs(first(after) - (layers[0]?.density ?? 0)) < 1e-12);
  t.not(after['loss'], before['loss']);
  const density = await runJson(t, ['density', ...paths, '--input', records, '--activation-thresholds', out]);
  t.true(Math.abs((density['density'] as number) - (after['density'] as number)) < 1e-12);
  const output = join(folder, 'out.jsonl');
  const one = ['predict', ...paths, '--input', records, '--output', output, '--logits'];
  await runDeftune(t, one);
  const plain = readLines(output);
  await runDeftune(t, [...one, '--activation-thresholds', 0]);
  t.deepEqual(readLines(output), plain);
  await runDeftune(t, [...one, '--activation-thresholds', 0.05]);
  t.notDeepEqual(readLines(output), plain);
});

test('calibrate: a density, a budget of the metric, records without labels, the default file', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = fixture('relu');
  const records = recordsIn(folder, 'relu');
  const paths = ['calibrate', '--model', model];
  const input = writeLines(
    join(folder, 'in.jsonl'),
    recordsOf(fixture('relu').expected.training.batches).map(({ inputIds }) => ({ inputIds })),
  );
  const [target, budget] = await Promise.all([
    runJson(t, [...paths, '--input', input, '--target-density', 0.3, '--out', join(folder, 'a.json')]),
    runJson(t, [...paths, '--train-file', records, '--max-metric-drop', 0, '--out', join(folder, 'b.json')]),
  ]);
  const densities = (target['layers'] as Layer[]).map(({ density }) => density);
  t.true((densities[0] as number) + (densities[1] as number) <= 0.6 && (target['density'] as number) > 0.25);
  t.true((budget['metric'] as number) >= (budget['metricBefore'] as number));
  t.is(budget['metricName'], 'accuracy');
  const { stdout } = await runDeftune(t, [...paths, '--input', input, '--examples', 3], { cwd: folder });
  t.regex(stdout, /encoder\.layer\.1 +│ +[\d.]+ │ +\d\.\d\d % │ +\d+\.\d\d % │ +\d+\.\d\d %/);
  t.regex(stdout, /\nthresholds: activation_thresholds\.json\n$/);
  t.true(existsSync(join(folder, 'activation_thresholds.json')));
});

test('train with thresholds: the adapter brings them, and a command may say otherwise', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = fixture('gelu');
  const records = recordsIn(folder, 'gelu');
  const out = join(folder, 'adapter');
  const data = ['--train-file', records, '--valid-file', records];
  const thresholds = join(folder, 'thresholds.json');
  writeFileSync(thresholds, JSON.stringify({ thresholds: { 'encoder.layer.0': 0.1, 'encoder.layer.1': 0 } }));
  const run = ['train', '--model', model, ...data, '--max-steps', 6, '--lora-target', 'all-linear', '--out', out];
  const summary = await runJson(t, [...run, '--activation-thresholds', thresholds]);
  const sidecar = JSON.parse(readFileSync(join(out, 'deftune.json'), 'utf8')) as Record<string, unknown>;
  t.deepEqual(sidecar['activationThresholds'], { 'encoder.layer.0': 0.1 });
  t.is(sidecar['activation'], undefined);
  const paths = ['eval', '--model', model, '--adapter', out, '--valid-file', records];
  const evaluated = await runJson(t, paths);
  const trained = summary['evaluation'] as { loss: number; density: number };
  t.is(evaluated['loss'], trained.loss);
  t.is(evaluated['density'], trained.density);
  t.not((await runJson(t, [...paths, '--activation-thresholds', 0]))['loss'], trained.loss);
  // Calibration goes on from what it was trained with.
  const calibrated = await runJson(t, [
    ...['calibrate', '--model', model, '--adapter', out, '--train-file', records, '--max-error', 0],
  ]);
  t.deepEqual(calibrated['thresholds'], { 'encoder.layer.0': 0.1, 'encoder.layer.1': 0 });
  t.true(existsSync(join(out, 'activation_thresholds.json')));
});

test('train with another activation: the adapter brings it, a full checkpoint has it in its config', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = fixture('gelu');
  const records = recordsIn(folder, 'gelu');
  const data = ['--train-file', records, '--valid-file', records, '--max-steps', 6, '--density', 'tanh'];
  const [out, full] = [join(folder, 'adapter'), join(folder, 'full')];
  const run = ['train', '--model', model, ...data, '--activation', 'relu'];
  const [summary, whole] = await Promise.all([
    runJson(t, [...run, '--out', out]),
    runJson(t, [...run, '--method', 'full', '--out', full]),
  ]);
  const trained = summary['evaluation'] as { loss: number; density: number };
  t.true(trained.density < 0.8);
  const sidecar = JSON.parse(readFileSync(join(out, 'deftune.json'), 'utf8')) as Record<string, unknown>;
  t.is(sidecar['activation'], 'relu');
  const evaluated = await runJson(t, ['eval', '--model', model, '--adapter', out, '--valid-file', records]);
  t.is(evaluated['loss'], trained.loss);
  t.is(evaluated['density'], trained.density);
  const config = JSON.parse(readFileSync(join(full, 'config.json'), 'utf8')) as Record<string, unknown>;
  t.is(config['hidden_act'], 'relu');
  const own = await runJson(t, ['eval', '--model', full, '--valid-file', records]);
  t.is(own['density'], (whole['evaluation'] as { density: number }).density);
  const paths = ['eval', '--model', model, '--adapter', out, '--valid-file', records];
  const { stderr } = await runDeftune(t, [...paths, '--activation', 'gelu'], { code: 1 });
  t.regex(
    stderr,
    /^error: .*deftune\.json: activation is relu, but the model has gelu; expected the model opened with activation 'relu'$/m,
  );
});

test('bad input: one line, and nothing is written', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = fixture('relu');
  const records = recordsIn(folder, 'relu');
  const out = join(folder, 'out.json');
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const calibrate = ['calibrate', '--model', model, '--out', out];
  const labelled = ['--train-file', records];
  const evaluate = ['eval', '--model', model, '--valid-file', records, '--activation-thresholds'];
  const cases: [args: (string | number)[], message: RegExp][] = [
    [calibrate, /no data given, expected --train-file FILE/],
    [[...calibrate, ...labelled, '--max-error', 2], /--max-error is 2, expected a number from 0 to 1/],
    [[...calibrate, ...labelled, '--target-density', -1], /--target-density is -1, expected a number from 0 to 1/],
    [[...calibrate, ...labelled, '--max-metric-drop', 101], /--max-metric-drop is 101, expected .* 0 to 100/],
    [
      [...calibrate, ...labelled, '--max-error', 0.1, '--target-density', 0.1],
      /--max-error and --target-density are given, expected one of them/,
    ],
    [[...calibrate, '--input', records, '--max-metric-drop', 1], /--max-metric-drop needs labels/],
    [[...calibrate, '--input', records, ...labelled], /--input is given with other data, expected one of both/],
    [[...calibrate, ...labelled, '--examples', 0], /--examples is 0, expected at least 1/],
    [[...evaluate, join(folder, 'none.json')], /none\.json/],
    [
      [...evaluate, file('a.json', '{"thresholds": {"encoder.layer.0": "x"}}')],
      /a\.json: thresholds\.encoder\.layer\.0 is "x"/,
    ],
    [[...evaluate, file('b.json', '{}')], /b\.json: thresholds is undefined/],
    [
      [...evaluate, file('c.json', '{"thresholds": {"h.0": 1}}')],
      /"h\.0" is no MLP, expected one of encoder\.layer\.0/,
    ],
    [[...evaluate, '-1'], /encoder\.layer\.0 is -1, expected a number from 0/],
    [
      ['eval', '--model', model, '--valid-file', records, '--activation', 'step'],
      /activation 'step' is not supported, expected one of relu/,
    ],
  ];
  await Promise.all(
    cases.map(async ([args, message]) => {
      const { stderr } = await runDeftune(t, args, { code: 1 });
      t.regex(stderr, message);
      t.is(stderr.trimEnd().split('\n').length, 1, stderr);
    }),
  );
  t.false(existsSync(out));
});

test('a model with a tokenizer: calibrated on sentences, read by compare', async (t) => {
  const folder = temporaryFolder(t);
  const out = join(folder, 'thresholds.json');
  const { model, train, valid } = bundled;
  const run = ['calibrate', '--model', model, '--train-file', train, '--examples', 24, '--max-error', 0.1];
  const result = await runJson(t, [...run, '--out', out]);
  t.true((result['density'] as number) < (result['densityBefore'] as number) - 0.02);
  const compare = ['compare', '--model', model, '--train-file', train, '--valid-file', valid, '--max-steps', 2];
  const options = ['--seeds', 0, '--out', join(folder, 'report'), '--activation-thresholds', out];
  const { stdout } = await runDeftune(t, [...compare, ...options]);
  t.regex(stdout, /DEFT │/);
});
