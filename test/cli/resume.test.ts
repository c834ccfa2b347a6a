// Runs that are killed, interrupted or damaged, and go on: nothing is lost, and nothing differs.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { fixture, recordsOf } from './fixtures.js';
import { endWhen, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

const STEPS = 400;

interface Run {
  args: (string | number)[];
  out: string;
  log: string;
}

/** A run with everything that has state: shuffling, dropout, accumulation, momentum of AdamW, a schedule, a density loss. */
function runOf(t: ExecutionContext, name: string, folder = temporaryFolder(t)): Run {
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const out = join(folder, name);
  const log = join(folder, `${name}.jsonl`);
  const args = ['train', '--model', model, '--train-file', records, '--out', out, '--log', log, '--batch-size', 4];
  const settings = ['--max-steps', STEPS, '--accumulate', 2, '--warmup', 5, '--density', 'tanh', '--lora-dropout', 0.1];
  return { args: [...args, ...settings, '--dropout', 0.1, '--seed', 3], out, log };
}

/** Ends a run as soon as its log has `steps` lines. */
function endAfter(args: readonly (string | number)[], log: string, steps: number, signal: NodeJS.Signals) {
  const lines = (): number => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0);
  return endWhen(args, () => lines() >= steps, signal);
}

/** What each step of a log says but for its seconds; every line of one step must say the same. */
function stepsOf(t: ExecutionContext, log: string): string[] {
  const found = new Map<number, string>();
  for (const line of readLines<{ step: number; seconds: number }>(log)) {
    const text = JSON.stringify({ ...line, seconds: 0 });
    const before = found.get(line.step);
    if (before !== undefined) t.is(text, before, `step ${line.step}`);
    found.set(line.step, text);
  }
  return [...found].sort(([a], [b]) => a - b).map(([, line]) => line);
}

const adapterOf = ({ out }: Run): Buffer => readFileSync(join(out, 'adapter_model.safetensors'));

test('a run killed at random instants and resumed with other thread counts is the uninterrupted run', async (t) => {
  const whole = runOf(t, 'whole');
  await runDeftune(t, whole.args);
  const broken = runOf(t, 'broken');
  const args = [...broken.args, '--save-steps', 7, '--save-total-limit', 3, '--resume'];
  let kills = 0;
  for (let at = 20; at < STEPS; at += 20 + Math.floor(Math.random() * 90)) {
    const end = await endAfter([...args, '--threads', (kills % 2) + 1], broken.log, at + kills * 4, 'SIGKILL');
    if (end === 'SIGKILL') kills += 1;
    // Whatever is called a checkpoint is whole.
    for (const name of readdirSync(broken.out).filter((entry) => entry.startsWith('checkpoint-'))) {
      const files = readdirSync(join(broken.out, name));
      t.true(
        ['trainer_state.json', 'trainer_state.safetensors', 'adapter_config.json'].every((file) =>
          files.includes(file),
        ),
      );
    }
  }
  t.true(kills > 0);
  const { resumedAfter } = await runJson(t, args);
  t.true((resumedAfter as number) > 0);
  t.deepEqual(stepsOf(t, broken.log), stepsOf(t, whole.log));
  t.deepEqual(adapterOf(broken), adapterOf(whole));
  t.deepEqual(
    readdirSync(broken.out).filter((name) => name.startsWith('.')),
    [],
  );
});

test('SIGINT saves and exits with 130, SIGTERM with 143; the run goes on from there', async (t) => {
  const whole = runOf(t, 'whole');
  await runDeftune(t, whole.args);
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const run = runOf(t, signal);
    t.is(await endAfter(run.args, run.log, 10, signal), code);
    const stopped = readLines(run.log).length;
    t.deepEqual(readdirSync(run.out), [`checkpoint-${stopped}`]);
    const { resumedAfter } = await runJson(t, [...run.args, '--resume']);
    t.is(resumedAfter, stopped);
    t.deepEqual(stepsOf(t, run.log), stepsOf(t, whole.log));
    t.deepEqual(adapterOf(run), adapterOf(whole));
  }
});

test('a damaged checkpoint is passed over for the one before, and said', async (t) => {
  const run = runOf(t, 'damaged');
  const args = [...run.args, '--save-steps', 100];
  await runDeftune(t, args);
  const adapter = adapterOf(run);
  const newest = join(run.out, `checkpoint-${STEPS}`);
  const tensors = readFileSync(join(newest, 'trainer_state.safetensors'));
  tensors[tensors.length - 5] = (tensors.at(-5) as number) ^ 1;
  writeFileSync(join(newest, 'trainer_state.safetensors'), tensors);
  writeFileSync(join(run.out, 'checkpoint-300', 'trainer_state.json'), '{"step": 300, ');
  const { stderr, stdout } = await runDeftune(t, [...args, '--resume', '--json']);
  t.regex(stderr, /checkpoint-400.*is damaged.*the checkpoint before it is used/);
  t.regex(stderr, /checkpoint-300.*invalid JSON.*the checkpoint before it is used/);
  t.is((JSON.parse(stdout) as { resumedAfter: number }).resumedAfter, 200);
  t.deepEqual(adapterOf(run), adapter);
});

test('a checkpoint is an adapter; a fresh run does not mix with the checkpoints of another', async (t) => {
  const run = runOf(t, 'run');
  await runDeftune(t, [...run.args, '--save-steps', 150]);
  const { stderr } = await runDeftune(t, run.args, { code: 1 });
  t.regex(stderr, /^error: .* has checkpoints of an earlier run \(the newest of step 300\), expected --resume .*\n$/);
  const folder = temporaryFolder(t);
  const input = writeLines(join(folder, 'in.jsonl'), [{ inputIds: [5, 6, 7] }]);
  const output = join(folder, 'out.jsonl');
  const adapter = join(run.out, 'checkpoint-300');
  await runDeftune(t, [
    'predict',
    '--model',
    fixture('relu').model,
    '--adapter',
    adapter,
    '--input',
    input,
    '--output',
    output,
  ]);
  t.is(readLines(output).length, 1);
});

test('--resume without a checkpoint starts from the start', async (t) => {
  const run = runOf(t, 'fresh');
  const { resumedAfter } = await runJson(t, [...run.args, '--resume']);
  t.is(resumedAfter, 0);
});
