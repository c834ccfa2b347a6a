// Tasks as text to text: trained, and judged by what is written.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';
import { speaking } from './tiny-t5.js';

const SENTENCES: readonly (readonly [sentence: string, label: number])[] = [
  ['a fine film', 1],
  ['a dull film', 0],
  ['the story is lovely', 1],
  ['the story is poor', 0],
  ['it is lovely', 1],
  ['it is dull', 0],
  ['a lovely story', 1],
  ['a poor story', 0],
];
const FULL = ['--method', 'full', '--lr', '3e-3', '--batch-size', '8', '--max-steps', '60', '--dropout', '0'];

test('sst2 as text to text: trained until it answers right, judged by what it writes', async (t) => {
  const model = speaking(t);
  const data = temporaryFolder(t);
  const table = ['sentence\tlabel', ...SENTENCES.map((row) => row.join('\t'))].join('\n');
  for (const name of ['train.tsv', 'dev.tsv']) writeFileSync(join(data, name), `${table}\n`);
  const out = join(data, 'out');
  const task = ['--task', 'sst2', '--data', data];
  const before = await runJson(t, ['eval', '--model', model, ...task]);
  t.true((before['accuracy'] as number) < 0.9);
  const { evaluation } = await runJson(t, ['train', '--model', model, ...task, '--out', out, ...FULL]);
  t.is((evaluation as Record<string, number>)['accuracy'], 1);
  const scored = await runJson(t, ['eval', '--model', out, ...task]);
  t.is(scored['accuracy'], 1);
  // The prompt and the target are T5's.
  const input = writeLines(
    join(data, 'in.jsonl'),
    SENTENCES.map(([sentence]) => ({ text: `sst2 sentence: ${sentence}` })),
  );
  const output = join(data, 'out.jsonl');
  await runDeftune(t, ['generate', '--model', out, '--input', input, '--output', output, '--max-new-tokens', 5]);
  t.deepEqual(
    readLines(output),
    SENTENCES.map(([, label]) => ({ outputIds: [label ? 5 : 6, 1], text: label ? 'positive' : 'negative' })),
  );
});

test('questions as text to text: exact match and F1 of what is written', async (t) => {
  const model = speaking(t);
  const folder = temporaryFolder(t);
  const names = ['ann', 'bob', 'cy'];
  const records = names.flatMap((winner) =>
    names
      .filter((loser) => loser !== winner)
      .flatMap((loser) => [
        { question: 'who won', context: `${winner} won and ${loser} lost`, answers: ['someone else', winner] },
        { question: 'who lost', context: `${winner} won and ${loser} lost`, answers: [loser] },
      ]),
  );
  // The first answer is what is taught.
  const file = writeLines(
    join(folder, 'in.jsonl'),
    records.map(({ answers, ...record }) => ({ ...record, answers: [...answers].reverse() })),
  );
  const [out, args] = [join(folder, 'out'), FULL.map((arg) => (arg === '60' ? '400' : arg))];
  const { evaluation } = await runJson(t, [
    ...['train', '--model', model, '--train-file', file, '--valid-file', file, '--out', out, ...args],
  ]);
  const { answerF1, exactMatch } = evaluation as Record<string, number>;
  t.true((answerF1 as number) >= 0.9, `F1 ${answerF1}`);
  t.true((exactMatch as number) >= 0.9 && (exactMatch as number) <= (answerF1 as number));
  const output = join(folder, 'out.jsonl');
  await runDeftune(t, ['generate', '--model', out, '--input', file, '--output', output, '--max-new-tokens', 4]);
  const right = readLines<{ text: string }>(output).filter(({ text }, index) => records[index]?.answers.includes(text));
  t.is(right.length / records.length, exactMatch as number);
});

test('compare tells the encoder from the decoder', async (t) => {
  const folder = temporaryFolder(t);
  const data = temporaryFolder(t);
  const table = ['sentence\tlabel', ...SENTENCES.map((row) => row.join('\t'))].join('\n');
  for (const name of ['train.tsv', 'dev.tsv']) writeFileSync(join(data, name), `${table}\n`);
  const { stdout } = await runDeftune(t, [
    ...['compare', '--model', speaking(t), '--task', 'sst2', '--data', data, '--seeds', '0', '--max-steps', 6],
    ...['--batch-size', 4, '--lr', 1e-2, '--alpha', 1, '--out', folder],
  ]);
  t.regex(stdout, /accuracy %.*density %.*encoder %.*decoder %/);
});
