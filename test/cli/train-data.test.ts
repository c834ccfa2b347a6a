// The data of `train`: files of every format, a task's folder, and what is said of the texts and labels.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Step } from './fixture-run.js';
import { bundled, fixture } from './fixtures.js';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

test('records as JSONL, CSV and TSV with numbers or names for labels train alike', async (t) => {
  const folder = temporaryFolder(t);
  const texts = ['good film', 'bad film', 'fine, really', 'so dull'];
  const names = ['positive', 'negative', 'positive', 'negative'];
  const numbers = [1, 0, 1, 0];
  const csv = (text: string): string => `"${text}"`;
  const files = {
    'numbers.jsonl': texts.map((text, i) => JSON.stringify({ text, label: numbers[i] })),
    'names.jsonl': texts.map((sentence, i) => JSON.stringify({ sentence, label: names[i] })),
    'numbers.csv': ['text,label', ...texts.map((text, i) => `${csv(text)},${numbers[i]}`)],
    'names.tsv': ['label\tsentence', ...texts.map((text, i) => `${names[i]}\t${text}`)],
    'pairs.tsv': ['sentence\tsentence2\tlabel', ...texts.map((text, i) => `${text}\tyes\t${names[i]}`)],
  };
  const results: Record<string, number[]> = {};
  for (const [name, lines] of Object.entries(files)) {
    const file = join(folder, name);
    writeFileSync(file, lines.join('\n'));
    const log = join(folder, 'log.jsonl');
    const args = [
      '--train-file',
      file,
      '--valid-file',
      file,
      '--max-steps',
      2,
      '--out',
      join(folder, 'out'),
      '--log',
      log,
    ];
    await runDeftune(t, ['train', '--model', bundled.model, ...args]);
    results[name] = readLines<Step>(log).map(({ loss }) => loss);
  }
  for (const name of ['names.jsonl', 'numbers.csv', 'names.tsv'])
    t.deepEqual(results[name], results['numbers.jsonl'], name);
  t.notDeepEqual(results['pairs.tsv'], results['numbers.jsonl']);
  const sidecar = JSON.parse(readFileSync(join(folder, 'out/deftune.json'), 'utf8')) as { labelNames: string[] };
  t.deepEqual(sidecar.labelNames, ['negative', 'positive']);
});

test('--task reads a benchmark’s folder', async (t) => {
  const folder = temporaryFolder(t);
  for (const [name, part] of [
    ['train.tsv', bundled.train],
    ['dev.tsv', bundled.valid],
  ] as const) {
    writeFileSync(join(folder, name), readFileSync(part, 'utf8').split('\n').slice(0, 9).join('\n'));
  }
  const out = join(folder, 'out');
  const task = ['--task', 'sst2', '--data', folder];
  const result = await runJson(t, ['train', '--model', bundled.model, ...task, '--max-steps', 1, '--out', out]);
  t.like(result, { trainExamples: 8, validExamples: 8 });
  const evaluated = await runJson(t, ['eval', '--model', bundled.model, '--adapter', out, ...task]);
  t.is(evaluated['accuracy'], (result['evaluation'] as Record<string, number>)['accuracy']);
});

test('the summary says what was cut, and warns of a constant answer, naming alpha', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  // This model answers 0 to every one of them, and two are of the full length: a token more has to be cut.
  const records = writeLines(
    join(folder, 'records.jsonl'),
    [0, 1, 1, 2].map((row, index) => {
      const ids = expected.batch.inputIds[row] ?? [];
      return { inputIds: ids.length === 24 ? [...ids, 1] : ids, label: index % 2 };
    }),
  );
  const args = [
    '--train-file',
    records,
    '--valid-file',
    records,
    '--max-steps',
    1,
    '--lr',
    0,
    '--out',
    join(folder, 'out'),
  ];
  const { stderr } = await runDeftune(t, ['train', '--model', model, ...args, '--density', 'tanh']);
  t.regex(stderr, /warning: 2 training texts were longer than 24 tokens and were cut/);
  t.regex(stderr, /warning: 2 validation texts were longer/);
  t.regex(stderr, /warning: the predictions have collapsed to one class; .*alpha/);
  const json = await runJson(t, ['train', '--model', model, ...args, '--density', 'tanh']);
  t.is((json['warnings'] as string[]).length, 3);
  t.regex(String(json['density']), /tanh, feature map, alpha 0\.05, beta 20/);
});
