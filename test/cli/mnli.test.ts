// MNLI's two validation sets in every command that evaluates: train, eval and compare.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { runDeftune, runJson, temporaryFolder } from './run-deftune.js';

const model = fileURLToPath(new URL('../../assets/bert-mini-relu', import.meta.url));
const LABELS = ['entailment', 'neutral', 'contradiction'];

type Evaluated = { accuracy: number; loss: number; density: number; examples: number };

/** A folder as MNLI's, with sets of different sizes and different answers. */
function mnli(t: ExecutionContext): string {
  const folder = temporaryFolder(t);
  const write = (name: string, rows: number, label: (row: number) => string | undefined): void => {
    const lines = Array.from({ length: rows }, (_, row) =>
      [`${row}`, `the film was good ${row}`, `it was a bad film ${row}`, label(row)].join('\t'),
    );
    writeFileSync(join(folder, name), ['index\tsentence1\tsentence2\tgold_label', ...lines, ''].join('\n'));
  };
  write('train.tsv', 12, (row) => LABELS[row % 3]);
  write('dev_matched.tsv', 7, () => 'neutral');
  write('dev_mismatched.tsv', 5, (row) => (row < 2 ? 'neutral' : 'contradiction'));
  return folder;
}

test('train and eval report the matched and the mismatched set', async (t) => {
  const data = ['--task', 'mnli', '--data', mnli(t)];
  const out = join(temporaryFolder(t), 'out');
  const trained = await runJson(t, ['train', '--model', model, ...data, '--max-steps', 2, '--out', out]);
  const evaluated = await runJson(t, ['eval', '--model', model, '--adapter', out, ...data]);
  const [first, { mismatched }] = [trained.evaluation as Evaluated, trained.otherSets as { mismatched: Evaluated }];
  t.is(mismatched.examples, 5);
  t.true(first.accuracy * 7 === Math.round(first.accuracy * 7));
  const again = evaluated as unknown as Evaluated & { otherSets: { mismatched: Evaluated } };
  t.is(again.examples, 7);
  for (const field of ['accuracy', 'loss', 'density'] as const) {
    t.is(again[field], first[field], field);
    t.is(again.otherSets.mismatched[field], mismatched[field], field);
  }
  t.not(mismatched.loss, first.loss);
  const { stdout } = await runDeftune(t, ['eval', '--model', model, '--adapter', out, ...data]);
  t.regex(stdout, /^matched: accuracy .* on 7 examples\nmismatched: accuracy .* on 5 examples$/m);
});

test('compare has a column for the mismatched set', async (t) => {
  const args = ['compare', '--model', model, '--task', 'mnli', '--data', mnli(t), '--seeds', '0', '--max-steps', 1];
  const { stdout } = await runDeftune(t, [...args, '--out', join(temporaryFolder(t), 'report')]);
  t.regex(stdout, /accuracy % .* accuracy \(mismatched\) % .* density %/);
});
