// `--precision bf16` in the commands: predictions move by what rounding the frozen weights does, and no more.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

const model = fileURLToPath(new URL('../../assets/bert-mini-relu', import.meta.url));
const SENTENCES = ['a lovely film', 'dull and far too long', 'it is what it is', 'a good story told well'];

test('predict, train and eval in bf16', async (t) => {
  const folder = temporaryFolder(t);
  const file = writeLines(
    join(folder, 'records.jsonl'),
    SENTENCES.map((text, index) => ({ text, label: index % 2 })),
  );
  const out = join(folder, 'adapter');
  const data = ['--train-file', file, '--valid-file', file];
  const run = ['train', '--model', model, ...data, '--max-steps', 4, '--precision', 'bf16', '--out', out];
  const trained = (await runJson(t, run)).evaluation as { loss: number };
  const evaluated = async (precision: string): Promise<number> => {
    const args = ['eval', '--model', model, '--adapter', out, '--valid-file', file, '--precision', precision];
    return (await runJson(t, args)).loss as number;
  };
  t.is(await evaluated('bf16'), trained.loss);
  t.not(await evaluated('f32'), trained.loss);
  const logits = async (precision: string): Promise<number[]> => {
    const output = join(folder, `${precision}.jsonl`);
    const paths = ['--model', model, '--adapter', out, '--input', file, '--output', output];
    await runDeftune(t, ['predict', ...paths, '--logits', '--precision', precision]);
    return readLines<{ logits: number[] }>(output).flatMap((line) => line.logits);
  };
  const [half, full] = [await logits('bf16'), await logits('f32')];
  t.notDeepEqual(half, full);
  half.forEach((logit, index) => t.true(Math.abs(logit - (full[index] as number)) < 0.05, `${logit}, ${full[index]}`));
});

test('another precision is refused', async (t) => {
  const args = ['predict', '--model', model, '--input', 'x', '--output', 'y', '--precision', 'f16'];
  const { stderr } = await runDeftune(t, args, { code: 1 });
  t.regex(stderr, /--precision/);
  t.regex(stderr, /f32, bf16/);
});
