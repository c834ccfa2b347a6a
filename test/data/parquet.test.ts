import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { withColumns } from '../../ts/data/columns.js';
import { parquetRecords } from '../../ts/data/parquet-records.js';
import { readRecords } from '../../ts/data/records-node.js';
import { getTask } from '../../ts/data/tasks/index.js';
import { recordOptions } from '../../ts/data/tasks/record-options.js';
import { DeftuneError } from '../../ts/error.js';

const file = (name: string): string => fileURLToPath(new URL(`../fixtures/parquet/${name}.parquet`, import.meta.url));
const bytes = (name: string): Uint8Array => new Uint8Array(readFileSync(file(name)));

for (const name of ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4']
  .map((codec) => `sst2-${codec}`)
  .concat('sst2-v2')) {
  test(`reads ${name}`, async (t) => {
    const records = await readRecords(file(name), recordOptions(getTask('sst2')));
    t.is(records.length, 300);
    records.forEach((record, i) => {
      t.deepEqual(record, { text: `sentence ${i} é😀${'x'.repeat(i % 7)}`, label: i % 2, idx: i, line: i + 1 });
    });
  });
}

test('SQuAD as Hugging Face stores it', async (t) => {
  const context = '😀 The Denver Broncos won.';
  const records = await readRecords(file('squad'));
  t.deepEqual(records, [
    {
      id: '56be',
      question: 'Who won?',
      context,
      // Counted as JavaScript counts; the file counts 6 and 2.
      answers: [
        { text: 'Denver Broncos', start: 7 },
        { text: 'The Denver Broncos', start: 3 },
      ],
      line: 1,
    },
    { id: '56bf', question: 'Who?', context, line: 2 },
  ]);
  await t.throwsAsync(readRecords(file('squad'), recordOptions(getTask('squad'))), {
    instanceOf: DeftuneError,
    message: /squad\.parquet:2: fields are "id", "context", "question", "answers", expected answers among them$/,
  });
});

test('lists, scores and bytes', async (t) => {
  t.deepEqual(await readRecords(file('tokens')), [
    { words: ['EU', 'rejects'], labels: [3, 0], id: '0', line: 1 },
    { words: ['Peter'], labels: [1], id: '1', line: 2 },
  ]);
  t.deepEqual(await readRecords(file('ids')), [
    { inputIds: [1, 2, 3], labelIds: [-100, 2, 3], target: 'a', line: 1 },
    { inputIds: [4], labelIds: [4], line: 2 },
  ]);
  const stsb = await readRecords(file('stsb'), recordOptions(getTask('stsb')));
  t.deepEqual(
    stsb.map(({ label }) => label),
    [5, Math.fround(3.8)],
  );
  const [image] = await readRecords(file('images'));
  t.deepEqual(image, { image: Uint8Array.of(0x89, 0x50, 0x4e, 0x47), label: 3, line: 1 });
});

test('what a Parquet file lacks', async (t) => {
  await t.throwsAsync(readRecords(file('foreign')), {
    instanceOf: DeftuneError,
    message: /foreign\.parquet: columns are "words_", expected one of text, sentence,/,
  });
  await t.throwsAsync(readRecords(file('empty')), { message: /empty\.parquet: no records, expected at least 1$/ });
  await t.throwsAsync(readRecords(file('null')), {
    message: /null\.parquet:2: fields are "sentence", expected text \(or sentence\), inputIds/,
  });
  await t.throwsAsync(parquetRecords(bytes('null'), 'x', { columns: withColumns({ text: ['b'] }) }), {
    message: /^x: columns are "sentence", expected one of b, /,
  });
});

/** Reading must end soon, with records or one line that names the file. */
async function survives(content: Uint8Array): Promise<void> {
  try {
    await parquetRecords(content, 'f.parquet');
  } catch (error) {
    if (!(error instanceof DeftuneError) || !/^f\.parquet[: ]/.test(error.message) || error.message.includes('\n'))
      throw error;
  }
}

test('a file cut off anywhere is refused on one line', async (t) => {
  for (const name of ['stsb', 'squad', 'sst2-zstd']) {
    const whole = bytes(name);
    for (let length = 0; length < whole.length; length += name === 'stsb' ? 1 : 37) {
      await t.throwsAsync(parquetRecords(whole.slice(0, length), 'f.parquet'), {
        instanceOf: DeftuneError,
        message: /^f\.parquet: expected a whole Parquet file, but .*; it may be cut off or damaged$/,
      });
    }
  }
});

test('damaged bytes never hang or crash the reader', async (t) => {
  for (const name of [
    'stsb',
    'squad',
    'sst2-snappy',
    'sst2-gzip',
    'sst2-zstd',
    'sst2-v2',
    'tokens',
    'sst2-lz4',
    'sst2-brotli',
  ]) {
    const whole = bytes(name);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (changes) => {
          const content = whole.slice();
          for (const [at, value] of changes) content[at] = value;
          await survives(content);
        },
      ),
      { seed: 5, numRuns: 150 },
    );
  }
  t.pass();
});
