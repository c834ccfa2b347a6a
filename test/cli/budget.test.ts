// --max-metric-drop and --target-density: alpha is found, the best state kept, and the log says what alpha was.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { readLines, runDeftune, runJson, temporaryFolder } from './run-deftune.js';

const asset = (path: string): string => fileURLToPath(new URL(`../../assets/${path}`, import.meta.url));
/** Options that name the bundled model and a few of its sentences. */
function dataIn(folder: string): { data: string[]; valid: string[] } {
  const first = (name: string, lines: number): string => {
    const file = join(folder, name);
    const text = readFileSync(asset(`sst2-sample/${name}`), 'utf8');
    writeFileSync(file, `${text.split('\n').slice(0, lines).join('\n')}\n`);
    return file;
  };
  return {
    data: ['--model', asset('bert-mini-relu'), '--train-file', first('train.tsv', 81), '--batch-size', '8'],
    valid: ['--valid-file', first('valid.tsv', 17)],
  };
}

interface Line {
  eval?: true;
  step: number;
  loss: number;
  taskLoss: number;
  densityLoss: number;
  metric: number;
  density: number;
}

test('train: plain at first, then alpha rises; the run ends with the best evaluation within the budget', async (t) => {
  const folder = temporaryFolder(t);
  const { data, valid } = dataIn(folder);
  const [out, log] = [join(folder, 'out'), join(folder, 'log.jsonl')];
  const run = [...data, ...valid, '--max-steps', 50, '--warmup', 5, '--out', out, '--log', log];
  const summary = await runJson(t, ['train', ...run, '--max-metric-drop', 2]);
  t.regex(summary['density'] as string, /^tanh, .*driven to at most 2 points below plain/);
  const lines = readLines<Line>(log);
  const alphas = lines.filter((line) => !line.eval).map((line) => (line.loss - line.taskLoss) / line.densityLoss);
  t.true(alphas.slice(0, 10).every((alpha) => Math.abs(alpha) < 1e-6));
  t.true(alphas.slice(10).every((alpha) => alpha > 1e-3));
  const evaluations = lines.filter((line) => line.eval);
  // A share of 0.04, 50 steps.
  t.deepEqual(
    evaluations.slice(0, 3).map(({ step }) => step),
    [2, 4, 6],
  );
  const best = summary['best'] as Line;
  const chosen = evaluations.find(({ step }) => step === best.step) as Line;
  const final = summary['evaluation'] as { density: number };
  t.is(final.density, chosen.density);
  t.true(existsSync(join(out, 'adapter_model.safetensors')));
});

test('compare: DEFT alone has the budget', async (t) => {
  const folder = temporaryFolder(t);
  const { data, valid } = dataIn(folder);
  const out = join(folder, 'out');
  const result = await runJson(t, [
    'compare',
    ...data,
    ...valid,
    '--max-steps',
    20,
    '--seeds',
    0,
    '--target-density',
    0.2,
    '--out',
    out,
  ]);
  t.regex(result['density'] as string, /driven to density 0.2$/);
});

test('a budget without validation data is refused', async (t) => {
  const folder = temporaryFolder(t);
  const { data, valid } = dataIn(folder);
  const out = join(folder, 'out');
  const run = ['train', ...data, '--max-steps', 20, '--out', out, '--max-metric-drop', 1];
  const { stderr } = await runDeftune(t, run, { code: 1 });
  t.regex(stderr, /^error: density budget: .*expected an evaluation set/m);
  t.is(existsSync(join(out, 'adapter_config.json')), false);
  const odd = await runDeftune(t, ['train', ...data, ...valid, '--out', out, '--target-density', 8], { code: 1 });
  t.regex(odd.stderr, /targetDensity is 8/);
});
