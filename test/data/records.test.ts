import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { readRecords } from '../../ts/data/records-node.js';
import { findTaskFiles } from '../../ts/data/task-files-node.js';
import { getTask } from '../../ts/data/tasks/index.js';
import { DeftuneError } from '../../ts/error.js';

const dir = mkdtempSync(join(tmpdir(), 'deftune-records-'));
test.after.always(() => rmSync(dir, { recursive: true }));
let count = 0;
function file(ending: string, content: string): string {
  const path = join(dir, `f${count++}.${ending}`);
  writeFileSync(path, content);
  return path;
}

test('JSON lines', async (t) => {
  const path = file(
    'jsonl',
    '{"text":"a","label":1}\r\n\n{"sentence1":"","sentence2":"c","label":"x","idx":3}\n{"inputIds":[1,2],"label":null}',
  );
  t.deepEqual(await readRecords(path), [
    { text: 'a', label: 1, line: 1 },
    { text: '', textPair: 'c', label: 'x', idx: 3, line: 3 },
    { inputIds: [1, 2], line: 4 },
  ]);
});

test('CSV, with quotes, line breaks and a byte order mark', async (t) => {
  const path = file('csv', '\ufefftext,label\r\n"a, ""b""",0\r\n"two\nlines",pos\r\n\r\nlast,-1.5\r\n,\r\n');
  t.deepEqual(await readRecords(path), [
    { text: 'a, "b"', label: 0, line: 2 },
    { text: 'two\nlines', label: 'pos', line: 3 },
    { text: 'last', label: -1.5, line: 6 },
    { text: '', line: 7 },
  ]);
  t.deepEqual(await readRecords(file('csv', 'inputIds,label\n1 2  3,0\n')), [
    { inputIds: [1, 2, 3], label: 0, line: 2 },
  ]);
});

test('TSV as in GLUE: quotes are text', async (t) => {
  const path = file('tsv', 'sentence\tlabel\n" unbalanced \t1\n\n a "b" c \t0\n');
  t.deepEqual(await readRecords(path), [
    { text: '" unbalanced ', label: 1, line: 2 },
    { text: ' a "b" c ', label: 0, line: 4 },
  ]);
  t.deepEqual(await readRecords(file('tsv', 'text\na\n\nb\n')), [
    { text: 'a', line: 2 },
    { text: '', line: 3 },
    { text: 'b', line: 4 },
  ]);
});

const wrong: [what: string, ending: string, content: string, expected: RegExp][] = [
  ['an unknown ending', 'txt', 'x', /ending is "txt", expected .jsonl, .csv or .tsv/],
  ['an empty jsonl', 'jsonl', '', /no records/],
  ['an empty csv', 'csv', '', /no records/],
  ['an empty tsv', 'tsv', '', /no records/],
  ['a header alone', 'tsv', 'text\tlabel\n', /no records/],
  ['blank lines alone', 'jsonl', '\n\n', /no records/],
  ['invalid JSON', 'jsonl', '{"text":"a"}\n{"text":}\n', /:2:9: invalid JSON/],
  ['a line that is a list', 'jsonl', '{"text":"a"}\n[1]', /:2: the line is \[1\]/],
  ['no text', 'jsonl', '{"label":1}', /:1: fields are "label", expected text/],
  ['an empty object', 'jsonl', '{}', /:1: fields are none/],
  ['a text that is a number', 'jsonl', '{"text":5}', /:1: text is 5, expected a text/],
  ['a pair that is a list', 'jsonl', '{"text":"a","textPair":[]}', /:1: textPair is \[\]/],
  ['no ids', 'jsonl', '{"inputIds":[]}', /:1: inputIds is empty/],
  ['no ids in a table', 'csv', 'inputIds,label\n,1\n', /:2: inputIds is empty/],
  ['ids that are no list', 'jsonl', '{"inputIds":5}', /:1: inputIds is 5/],
  ['a negative id', 'jsonl', '{"inputIds":[1,-2]}', /:1: inputIds\[1\] is -2/],
  ['a fractional id', 'jsonl', '{"inputIds":[1.5]}', /:1: inputIds\[0\] is 1.5/],
  ['a huge id', 'jsonl', '{"inputIds":[4294967296]}', /inputIds\[0\] is 4294967296/],
  ['an id as text', 'csv', 'inputIds\n1 x 3\n', /:2: inputIds\[1\] is "x"/],
  ['a negative id in a table', 'csv', 'inputIds\n1 -2\n', /:2: inputIds\[1\] is "-2"/],
  ['a label that is true', 'jsonl', '{"text":"a","label":true}', /:1: label is true/],
  ['a label that is empty', 'jsonl', '{"text":"a","label":""}', /:1: label is ""/],
  ['too few columns', 'tsv', 'text\tlabel\na\t1\nb\n', /:3: 1 columns, expected 2 as in the header/],
  ['too many columns', 'csv', 'text,label\na,b,1\n', /:2: 3 columns, expected 2/],
  ['an unclosed quote', 'csv', 'text,label\n"a,1\n', /:\d+: invalid CSV/],
  ['no text column', 'csv', 'phrase,label\na,1\n', /:1: columns are "phrase", "label", expected a header/],
  ['no header', 'tsv', 'nice film\t1\n', /:1: columns are "nice film", "1"/],
  ['a repeated column', 'csv', 'text,text\na,b\n', /:1: column "text" appears twice/],
];

for (const [what, ending, content, expected] of wrong) {
  test(`rejects ${what}`, async (t) => {
    const path = file(ending, content);
    const error = await t.throwsAsync(readRecords(path), { instanceOf: DeftuneError });
    t.true(error?.message.startsWith(path));
    t.regex(error?.message ?? '', expected);
  });
}

const shared = process.env['DEFTUNE_SHARED'] ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const sst2 = join(shared, 'data', 'sst2');
const maybe = existsSync(sst2) ? test : test.skip;
maybe('reads SST-2 whole', async (t) => {
  const files = findTaskFiles(getTask('sst2'), sst2);
  const valid = await readRecords(files.validation[0]?.paths[0] ?? '');
  t.is(valid.length, 872);
  t.deepEqual(valid[0], { text: "it 's a charming and often affecting journey . ", label: 1, line: 2 });
  t.is((await readRecords(files.train[0] ?? '')).length, 67_349);
});
