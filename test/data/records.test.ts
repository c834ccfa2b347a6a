import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { readRecords } from '../../ts/data/records-node.js';
import { findTaskFiles } from '../../ts/data/task-files-node.js';
import { getTask } from '../../ts/data/tasks/index.js';
import { recordOptions } from '../../ts/data/tasks/record-options.js';
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

test('images, word labels, targets and questions', async (t) => {
  const path = file(
    'jsonl',
    [
      '{"image":"cats/1.png","label":"cat","id":7}',
      '{"image":"/abs/1.png"}',
      '{"words":["New","York"],"labels":["B-LOC","I-LOC"]}',
      '{"inputIds":[5,6],"labels":[1,-100]}',
      '{"input_ids":[5],"label_ids":[-100,9],"target":""}',
      '{"question":"q","context":"the c","answers":{"text":["c"],"answer_start":[4]}}',
      '{"question":"q","context":"c","answers":["a","b"]}',
      '{"question":"q","context":"c","answers":[{"text":"c","answer_start":0},{"text":"x"}]}',
      '{"question":"q","context":"c","answers":"c"}',
    ].join('\n'),
  );
  const records = await readRecords(path);
  t.deepEqual(
    records.map((record) => ({ ...record, line: 0 })),
    [
      { image: join(dir, 'cats/1.png'), label: 'cat', id: '7', line: 0 },
      { image: '/abs/1.png', line: 0 },
      { words: ['New', 'York'], labels: ['B-LOC', 'I-LOC'], line: 0 },
      { inputIds: [5, 6], labels: [1, -100], line: 0 },
      { inputIds: [5], labelIds: [-100, 9], target: '', line: 0 },
      { question: 'q', context: 'the c', answers: [{ text: 'c', start: 4 }], line: 0 },
      { question: 'q', context: 'c', answers: [{ text: 'a' }, { text: 'b' }], line: 0 },
      { question: 'q', context: 'c', answers: [{ text: 'c', start: 0 }, { text: 'x' }], line: 0 },
      { question: 'q', context: 'c', answers: [{ text: 'c' }], line: 0 },
    ],
  );
});

test('the same in tables', async (t) => {
  const table = 'image,label,idx\na.png,cat,0\nb.png,,\n';
  t.deepEqual(await readRecords(file('csv', table)), [
    { image: join(dir, 'a.png'), label: 'cat', idx: 0, line: 2 },
    { image: join(dir, 'b.png'), line: 3 },
  ]);
  t.deepEqual(await readRecords(file('tsv', 'tokens\tlabels\tlabelIds\nNew York\t3 4\t1 -100\n')), [
    { words: ['New', 'York'], labels: [3, 4], labelIds: [1, -100], line: 2 },
  ]);
  t.deepEqual(
    await readRecords(file('tsv', 'question\tcontext\tanswers\tanswer_start\nq\tx ans\tans\t2\nq\tc\t\t\n')),
    [
      { question: 'q', context: 'x ans', answers: [{ text: 'ans', start: 2 }], line: 2 },
      { question: 'q', context: 'c', line: 3 },
    ],
  );
});

test('JSON: SQuAD, or a list', async (t) => {
  const squad = {
    version: '1.1',
    data: [
      {
        title: 't',
        paragraphs: [
          {
            context: '😀 the answer',
            qas: [
              { id: 'a', question: 'q?', answers: [{ text: 'answer', answer_start: 6 }] },
              { id: 'b', question: 'r?', answers: [] },
            ],
          },
        ],
      },
    ],
  };
  const context = '😀 the answer';
  t.deepEqual(await readRecords(file('json', JSON.stringify(squad))), [
    { id: 'a', question: 'q?', context, answers: [{ text: 'answer', start: 7 }], line: 1 },
    { id: 'b', question: 'r?', context, line: 2 },
  ]);
  t.deepEqual(await readRecords(file('json', '[{"text":"a"},{"text":"b","label":1}]')), [
    { text: 'a', line: 1 },
    { text: 'b', label: 1, line: 2 },
  ]);
});

const wrong: [what: string, ending: string, content: string, expected: RegExp][] = [
  ['an unknown ending', 'txt', 'x', /ending is "txt", expected .jsonl, .csv, .tsv, .parquet/],
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
  ['no image path', 'jsonl', '{"image":""}', /:1: image is "", expected the path of an image file/],
  ['an image that is a number', 'jsonl', '{"image":3}', /:1: image is 3, expected the path/],
  ['an image without path or bytes', 'jsonl', '{"image":{"path":null}}', /:1: image is \{"path":null\}/],
  ['words that are no list', 'jsonl', '{"words":{}}', /:1: words is \{\}, expected a list of words/],
  ['a word that is a number', 'jsonl', '{"words":["a",2]}', /:1: words\[1\] is 2, expected a text/],
  [
    'labels of another length',
    'jsonl',
    '{"words":["a"],"labels":[1,2]}',
    /:1: labels has 2 elements, expected 1, one a word/,
  ],
  [
    'token labels of another length',
    'jsonl',
    '{"inputIds":[4,5],"labels":[1]}',
    /labels has 1 elements, expected 2, one a token id/,
  ],
  [
    'labels of two kinds',
    'jsonl',
    '{"words":["a","b"],"labels":[1,"x"]}',
    /:1: labels\[1\] is "x", expected a number as in labels\[0\]/,
  ],
  ['a fractional word label', 'jsonl', '{"words":["a"],"labels":[1.5]}', /:1: labels\[0\] is 1.5/],
  [
    'a label id below 0',
    'jsonl',
    '{"inputIds":[1],"labelIds":[-1]}',
    /:1: labelIds\[0\] is -1, expected a whole number of at least 0, or -100/,
  ],
  ['label ids that are text', 'csv', 'inputIds,labelIds\n1,x\n', /:2: labelIds\[0\] is "x"/],
  ['a target that is a list', 'jsonl', '{"text":"a","target":[]}', /:1: target is \[\], expected a text/],
  [
    'a question without context',
    'jsonl',
    '{"question":"q"}',
    /:1: fields are "question", expected .*question and context/,
  ],
  ['answers that are a number', 'jsonl', '{"question":"q","context":"c","answers":5}', /:1: answers is 5/],
  [
    'answers without text',
    'jsonl',
    '{"question":"q","context":"c","answers":[{"answer_start":1}]}',
    /:1: answers\[0\] is undefined, expected a text/,
  ],
  [
    'an answer that is elsewhere',
    'jsonl',
    '{"question":"q","context":"a cat","answers":[{"text":"cat","answer_start":1}]}',
    /:1: answers\[0\] is "cat", but at its answer_start 1 the context has " ca"/,
  ],
  [
    'an answer beyond the context',
    'jsonl',
    '{"question":"q","context":"a","answers":[{"text":"a","answer_start":99}]}',
    /answer_start 99 the context has ""/,
  ],
  [
    'an answer that starts at a text',
    'jsonl',
    '{"question":"q","context":"a","answers":[{"text":"a","answer_start":"x"}]}',
    /answer_start of answers\[0\] is "x"/,
  ],
  [
    'starts of another number',
    'jsonl',
    '{"question":"q","context":"a","answers":{"text":["a"],"answer_start":[]}}',
    /answers.answer_start is \[\], expected 1 numbers/,
  ],
  ['an id that is a list', 'jsonl', '{"text":"a","id":[]}', /:1: id is \[\], expected a name or a number/],
  ['an idx with a fraction', 'jsonl', '{"text":"a","idx":1.5}', /:1: idx is 1.5/],
  ['a JSON text', 'json', '"a"', /: the file is "a", expected a list, or an object/],
  ['SQuAD without data', 'json', '{}', /json: data is undefined, expected a list, as in SQuAD/],
  ['SQuAD without paragraphs', 'json', '{"data":[{}]}', /: data\[0\].paragraphs is undefined/],
  [
    'SQuAD with a question that is null',
    'json',
    '{"data":[{"paragraphs":[{"context":"c","qas":[null]}]}]}',
    /: data\[0\].paragraphs\[0\].qas\[0\] is null, expected an object/,
  ],
  [
    'SQuAD without context',
    'json',
    '{"data":[{"paragraphs":[{"qas":[{"question":"q","id":"i"}]}]}]}',
    /:1: fields are "question", "id", "context", expected/,
  ],
  ['a list with a number', 'json', '[{"text":"a"},5]', /:2: the record is 5, expected an object/],
  ['a bad record in a list', 'json', '[{"text":"a"},{"text":5}]', /:2: text is 5/],
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

test('damaged files give records or one line that names the file', async (t) => {
  const whole: Record<string, string> = {
    jsonl:
      '{"text":"a é","label":1}\n{"question":"q","context":"a b","answers":{"text":["b"],"answer_start":[2]}}\n{"words":["a"],"labels":[1]}\n',
    csv: 'text,label,idx\n"a, ""b""\nc",1,4\nd,0.5,\n',
    tsv: 'sentence1\tsentence2\tlabel\na\tb\t1\n"c\td\tx\n',
    json: '{"data":[{"paragraphs":[{"context":"a b","qas":[{"id":"1","question":"q","answers":[{"text":"b","answer_start":2}]}]}]}]}',
  };
  for (const [ending, content] of Object.entries(whole)) {
    const bytes = new TextEncoder().encode(content);
    const path = file(ending, '');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(bytes.length),
        async (changes, length) => {
          const damaged = bytes.slice();
          for (const [at, value] of changes) damaged[at] = value;
          writeFileSync(path, damaged.slice(0, length));
          try {
            const records = await readRecords(path);
            if (records.length === 0) throw new Error('no records');
          } catch (error) {
            if (!(error instanceof DeftuneError) || !error.message.startsWith(path)) throw error;
          }
        },
      ),
      { seed: 4, numRuns: 400 },
    );
  }
  t.pass();
});

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

const xquad = join(shared, 'data', 'xquad', 'xquad.en.json');
(existsSync(xquad) ? test : test.skip)('reads XQuAD whole, each answer where it says', async (t) => {
  const records = await readRecords(xquad, recordOptions(getTask('squad')));
  t.is(records.length, 1190);
  for (const { context = '', answers = [] } of records) {
    t.true(answers.length > 0);
    for (const { text, start } of answers) t.true(context.startsWith(text, start));
  }
});
