// `train --max-metric-drop`: the plain run that the drop is counted from is trained first, kept, reused, resumed, or named.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { fixture, recordsOf } from './fixtures.js';
import { endWhen, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface Point {
  step: number;
  metric: number;
  loss: number;
  density: number;
}

/** A run of 40 steps on the tiny fixture, which is also its validation data. */
function runIn(folder: string, name: string): { args: (string | number)[]; out: string; log: string } {
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const [out, log] = [join(folder, name), join(folder, `${name}.jsonl`)];
  const data = [
    'train',
    '--model',
    model,
    '--train-file',
    records,
    '--valid-file',
    records,
    '--out',
    out,
    '--log',
    log,
  ];
  return { args: [...data, '--max-steps', 40, '--batch-size', 4, '--seed', 2, '--lora-dropout', 0.1], out, log };
}

const adapterIn = (folder: string): Buffer => readFileSync(join(folder, 'adapter_model.safetensors'));
const BUDGET = ['--max-metric-drop', 1];

test('the plain run comes first, is the one that train makes without a density loss, and can be named instead', async (t) => {
  const folder = temporaryFolder(t);
  const [budget, plain, named] = [runIn(folder, 'budget'), runIn(folder, 'plain'), runIn(folder, 'named')];
  const summary = await runJson(t, [...budget.args, ...BUDGET]);
  const reference = summary['reference'] as Point & { directory: string };
  const alone = await runJson(t, [...plain.args, '--eval-steps', 0.04]);
  t.deepEqual(adapterIn(join(budget.out, 'plain')), adapterIn(plain.out));
  const { directory, ...last } = reference;
  t.is(directory, join(budget.out, 'plain'));
  t.deepEqual(last as Point, (alone['evaluations'] as Point[]).at(-1));
  // The plain run's log is not that of the run.
  t.deepEqual(
    readLines<{ eval?: true; step: number }>(budget.log)
      .filter((line) => !line.eval)
      .map(({ step }) => step),
    Array.from({ length: 40 }, (_step, index) => index + 1),
  );
  const again = await runJson(t, [...named.args, ...BUDGET, '--reference', plain.out]);
  t.deepEqual(adapterIn(named.out), adapterIn(budget.out));
  t.false(existsSync(join(named.out, 'plain')));
  t.is((again['reference'] as { directory: string }).directory, plain.out);
  t.notDeepEqual(adapterIn(budget.out), adapterIn(plain.out));
});

test('none: the run counts from its own best', async (t) => {
  const { args, out } = runIn(temporaryFolder(t), 'none');
  const summary = await runJson(t, [...args, ...BUDGET, '--reference', 'none']);
  t.false('reference' in summary);
  t.false(existsSync(join(out, 'plain')));
});

test('interrupted in the plain run or after it, the run goes on to the same adapters', async (t) => {
  const folder = temporaryFolder(t);
  const whole = runIn(folder, 'whole');
  const { stdout } = await runDeftune(t, [...whole.args, ...BUDGET, '--save-steps', 5]);
  t.regex(stdout, /^plain: [\d.]+ %, density [\d.]+ %; adapter: .*plain$/m);
  const cut = runIn(folder, 'cut');
  const args = [...cut.args, ...BUDGET, '--save-steps', 5, '--resume'];
  // Once in the plain run, once in the other.
  for (const sign of [join(cut.out, 'plain', 'checkpoint-10'), join(cut.out, 'checkpoint-10')]) {
    const code = await endWhen(args, () => existsSync(sign), 'SIGTERM');
    t.true([143, 0].includes(code as number), String(code));
  }
  await runDeftune(t, args);
  for (const part of ['.', 'plain'])
    t.deepEqual(adapterIn(join(cut.out, part)), adapterIn(join(whole.out, part)), part);
  // A run from the start would take the plain run's checkpoints for its own.
  rmSync(join(cut.out, 'plain'), { recursive: true });
  const { stderr } = await runDeftune(t, [...cut.args, ...BUDGET], { code: 1 });
  t.regex(stderr, /has checkpoints of an earlier run .*expected --resume/);
});

test('a reference that is none, and settings of the density loss, are refused before anything is trained', async (t) => {
  const folder = temporaryFolder(t);
  const { args, out } = runIn(folder, 'out');
  const cases: [(string | number)[], RegExp][] = [
    [['--reference', join(folder, 'nowhere')], /nowhere/],
    [['--reference', fixture('relu').adapter], /--reference is .*expected the folder of a plain run .*or none/],
    [['--beta', -1], /beta is -1/],
    [['--density', 'hinge'], /loss is 'hinge', expected another for relu/],
    [['--target-density', 3], /targetDensity is 3/],
  ];
  for (const [odd, message] of cases) {
    const { stderr } = await runDeftune(t, [...args, ...BUDGET, ...odd], { code: 1 });
    t.is(stderr.split('\n').filter((line) => line.startsWith('error:')).length, 1, stderr);
    t.regex(stderr, message);
    t.false(existsSync(out));
  }
  const warned = await runDeftune(t, [...args, '--max-steps', 1, '--reference', 'none']);
  t.regex(warned.stderr, /reference has no effect without --max-metric-drop/);
});
