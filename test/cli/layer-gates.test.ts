// --layer-gates: learned with an adapter, applied by what reads it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { fixture, recordsOf } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface Layer {
  name: string;
  density: number;
  skipped?: boolean;
}

onBothBackends('train closes gates; eval, predict and density skip what they close', async (t, backend) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const out = join(folder, 'out');
  const common = ['--model', model, '--backend', backend];
  const data = ['--train-file', records, '--valid-file', records, '--out', out];
  const run = ['--max-steps', 24, '--scheduler', 'constant', '--lr', '2e-3', '--density', 'tanh'];
  const log = join(folder, 'log.jsonl');
  const gates = ['--layer-gates', '--gate-penalty', 1, '--gate-rate', 20, '--skip-threshold', 0.2, '--log', log];
  const trained = await runJson(t, ['train', ...common, ...data, ...run, ...gates]);
  const { layerGates, evaluation } = trained as {
    layerGates: { skipThreshold: number; theta: Record<string, number> };
    evaluation: { accuracy: number; layerDensity: Layer[] };
  };
  t.is(layerGates.skipThreshold, 0.2);
  t.deepEqual(Object.keys(layerGates.theta), ['encoder.layer.0', 'encoder.layer.1']);
  for (const theta of Object.values(layerGates.theta)) t.true(theta < 0.2, `theta ${theta}`);
  t.true(evaluation.layerDensity.every((layer) => layer.skipped && layer.density === 0));
  const [first] = readLines<{ auxiliary: { gatePenalty: number } }>(log);
  t.is(first?.auxiliary.gatePenalty, 1);
  const stored = JSON.parse(readFileSync(join(out, 'deftune.json'), 'utf8')) as { layerGates: unknown };
  t.deepEqual(stored.layerGates, layerGates);

  const adapted = [...common, '--adapter', out];
  const evaluated = await runJson(t, ['eval', ...adapted, '--valid-file', records]);
  t.deepEqual(evaluated['layerDensity'], evaluation.layerDensity);
  t.is(evaluated['accuracy'], evaluation.accuracy);
  const skipped = '2 of 2 MLPs skipped (encoder.layer.0, encoder.layer.1)';
  const { stdout } = await runDeftune(t, ['eval', ...adapted, '--valid-file', records]);
  t.true(stdout.trimEnd().endsWith(`examples, ${skipped}`), stdout);
  const output = join(folder, 'predictions.jsonl');
  const predicted = await runDeftune(t, ['predict', ...adapted, '--input', records, '--output', output]);
  t.true(predicted.stdout.includes(`(density 0.00 %, ${skipped})`), predicted.stdout);
  for (const detail of [[], ['--detail']]) {
    const measured = await runDeftune(t, ['density', ...adapted, '--input', records, ...detail]);
    t.true(measured.stdout.trimEnd().endsWith(skipped), measured.stdout);
  }
  // Another threshold: none of them is closed so far.
  const open = await runJson(t, ['eval', ...adapted, '--valid-file', records, '--skip-threshold', 0]);
  t.true((evaluated['modelBytes'] as number) < (open['modelBytes'] as number));
  const still = Object.values(layerGates.theta).filter((theta) => theta > 0).length;
  t.is((open['layerDensity'] as Layer[]).filter((layer) => !layer.skipped).length, still);

  // It goes on from the gates that it had.
  const again = join(folder, 'again');
  const more = ['--train-file', records, '--out', again, '--max-steps', 1, '--lr', 0, '--layer-gates'];
  const continued = await runJson(t, ['train', ...adapted, ...more]);
  t.deepEqual(continued['layerGates'], layerGates);
});

test('compare gives gates to DEFT alone and counts what it skips', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const data = ['--train-file', records, '--valid-file', records, '--out', join(folder, 'report')];
  const run = ['--max-steps', 24, '--scheduler', 'constant', '--lr', '2e-3', '--seeds', 0];
  const args = ['compare', '--model', model, ...data, ...run, '--layer-gates', '--gate-penalty', 1];
  const { runs } = (await runJson(t, args)) as { runs: { variant: string; skippedMlps?: string[] }[] };
  t.deepEqual(
    runs.map(({ variant, skippedMlps }) => [variant, skippedMlps?.length]),
    [
      ['PEFT', undefined],
      ['DEFT', 2],
    ],
  );
});

test('gates where there are none, and settings out of range, are refused or named', async (t) => {
  const folder = temporaryFolder(t);
  const { model, adapter, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const refused = async (args: readonly (string | number)[], message: RegExp): Promise<void> => {
    const { stderr } = await runDeftune(t, args, { code: 1 });
    t.regex(stderr, message);
  };
  const evaluate = ['eval', '--model', model, '--valid-file', records];
  await refused(
    [...evaluate, '--adapter', adapter, '--skip-threshold', 0.1],
    /skipThreshold is 0\.1, .* has no layerGates/,
  );
  await refused([...evaluate, '--skip-threshold', 0.1], /--skip-threshold is 0\.1, expected an --adapter with gates/);
  const train = ['train', '--model', model, '--train-file', records, '--max-steps', 1, '--out', join(folder, 'out')];
  await refused([...train, '--layer-gates', '--gate-rate', 0], /layerGates: rate is 0, /);
  await refused([...train, '--layer-gates', '--skip-threshold', 2], /layerGates: skipThreshold is 2, /);
  await refused([...train, '--adapter', adapter, '--layer-gates'], /has no gates: expected an adapter with gates/);
  const { stderr } = await runDeftune(t, [...train, '--gate-penalty', 1]);
  t.regex(stderr, /warning: gatePenalty has no effect without --layer-gates/);
});
