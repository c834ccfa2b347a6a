// What `train` does along the way: evaluation, schedules, seeds, dropout, progress, sparsity.
import { join } from 'node:path';
import test from 'ava';
import { STEP_FIELDS, fixtureRun, isClose, type Step } from './fixture-run.js';
import { fixture, modelWith, recordsOf } from './fixtures.js';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface EvalLine {
  eval: true;
  step: number;
  accuracy?: number;
  loss: number;
  density: number;
}

test('evaluation lines carry eval: true, at steps, epochs and the end', async (t) => {
  const folder = temporaryFolder(t);
  const { args, log, records } = fixtureRun(folder, 'relu');
  const evaluated = async (...extra: (string | number)[]): Promise<EvalLine[]> => {
    await runDeftune(t, [...args, '--valid-file', records, ...extra]);
    const lines = readLines<Step | EvalLine>(log);
    t.true(lines.every((line) => 'eval' in line || STEP_FIELDS.every((field) => field in line)));
    return lines.filter((line): line is EvalLine => 'eval' in line);
  };
  const bySteps = await evaluated('--eval-steps', 2, '--max-steps', 5);
  t.deepEqual(
    bySteps.map(({ step }) => step),
    [2, 4, 5],
  );
  for (const line of bySteps) {
    t.is(line.eval, true);
    t.true(Number.isFinite(line.loss) && line.density > 0 && line.density < 1);
  }
  const byEpochs = await evaluated('--eval-epochs', '--epochs', 2, '--batch-size', 40);
  t.deepEqual(
    byEpochs.map(({ step }) => step),
    [2, 4],
  );
  t.is((await evaluated('--epochs', 0.5, '--batch-size', 20)).at(-1)?.step, 2);
});

test('warm-up by steps and by share, linear and constant schedules', async (t) => {
  const folder = temporaryFolder(t);
  const { args } = fixtureRun(folder, 'relu');
  const rates = async (name: string, ...extra: (string | number)[]): Promise<number[]> => {
    const log = join(folder, `${name}.jsonl`);
    await runDeftune(t, [...args, '--max-steps', 8, '--lr', 0.8, ...extra, '--log', log, '--out', join(folder, name)]);
    return readLines<Step>(log).map(({ lr }) => Math.round(lr * 1e6) / 1e6);
  };
  // transformers' get_linear_schedule_with_warmup and get_constant_schedule_with_warmup.
  const linear = [0, 0.4, 0.8, 0.666667, 0.533333, 0.4, 0.266667, 0.133333];
  t.deepEqual(await rates('a', '--warmup', 2), linear);
  t.deepEqual(await rates('b', '--warmup', 0.25), linear);
  t.deepEqual(await rates('c', '--scheduler', 'constant'), Array<number>(8).fill(0.8));
  t.deepEqual(await rates('d', '--scheduler', 'constant', '--warmup', 4), [0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8]);
  t.deepEqual(await rates('e'), [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]);
});

test('a seed repeats a run, another shuffles otherwise; threads change no bit', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const losses = async (name: string, ...extra: (string | number)[]): Promise<number[]> => {
    const log = join(folder, `${name}.jsonl`);
    const fixed = ['--train-file', records, '--max-steps', 12, '--batch-size', 16, '--dropout', 0.1];
    await runDeftune(t, ['train', '--model', model, ...fixed, '--out', join(folder, name), '--log', log, ...extra]);
    return readLines<Step>(log).map(({ loss }) => loss);
  };
  const [first, again, one, other, ordered] = await Promise.all([
    losses('first', '--seed', 3),
    losses('again', '--seed', 3),
    losses('one', '--seed', 3, '--threads', 1),
    losses('other', '--seed', 4),
    losses('ordered', '--seed', 3, '--no-shuffle'),
  ]);
  t.deepEqual(again, first);
  t.deepEqual(one, first);
  t.notDeepEqual(other, first);
  t.notDeepEqual(ordered, first);
});

test('--dropout overrides the model’s', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const dropping = modelWith(folder, 'relu', {
    hidden_dropout_prob: 0.5,
    attention_probs_dropout_prob: 0.5,
    classifier_dropout: null,
  });
  const { args, log } = fixtureRun(folder, 'relu');
  const losses = async (path: string, ...extra: (string | number)[]): Promise<number[]> => {
    const own = args.with(args.indexOf('--model') + 1, path);
    await runDeftune(t, [...own, '--max-steps', 2, '--lr', 0, ...extra]);
    return readLines<Step>(log).map(({ loss }) => loss);
  };
  const known = expected.training['none']?.steps[0]?.loss ?? Number.NaN;
  const off = await losses(dropping, '--dropout', 0);
  isClose(t, off[0] ?? Number.NaN, known, 1e-4, 'loss without dropout');
  const on = await losses(model, '--dropout', 0.5);
  t.true(Math.abs((on[0] ?? 0) - known) > 1e-3);
  t.deepEqual(await losses(dropping), on);
});

test('without a terminal, progress is a few plain lines', async (t) => {
  const folder = temporaryFolder(t);
  const { args } = fixtureRun(folder, 'relu');
  const { stderr, stdout } = await runDeftune(t, [...args, '--max-steps', 300]);
  const lines = stderr.trimEnd().split('\n');
  t.is(lines.length, 10);
  for (const line of lines) t.regex(line, /^PEFT \d+\/300 {2}loss \S+ {2}density \S+ % {2}\S+ tokens\/s/);
  t.notRegex(stderr + stdout, /[\r\u001b]/);
  t.regex(stdout, /^LoRA r 3, alpha 5 on query, value; trainable params: .*\n300 steps in .*\n.*\nadapter: .*\n$/);
});

test('--density makes a run sparser than plain PEFT', async (t) => {
  const folder = temporaryFolder(t);
  const densities = await Promise.all(
    [[], ['--density', 'tanh', '--alpha', 1]].map(async (extra, index) => {
      const { model, expected } = fixture('relu');
      const records = writeLines(join(folder, `${index}.jsonl`), recordsOf(expected.training.batches));
      const data = ['--train-file', records, '--valid-file', records, '--max-steps', 60, '--lr', 0.01];
      const out = join(folder, `out-${index}`);
      const result = await runJson(t, ['train', '--model', model, ...data, '--out', out, ...extra]);
      return (result['evaluation'] as Record<string, number>)['density'] ?? Number.NaN;
    }),
  );
  t.true((densities[1] ?? 1) < 0.8 * (densities[0] ?? 0), densities.join(' '));
});
