// Records that cannot be read or used, and their labels.
import { join } from 'node:path';
import { bundled, modelWith } from '../fixtures.js';
import { writeLines } from '../run-deftune.js';
import { RELU, type Place } from './place.js';
import { refused } from './refused.js';

function named(place: Place): string {
  return modelWith(place.folder, 'relu', { id2label: { 0: 'bad', 1: 'good' } });
}

refused('records', [
  ['no records', (p) => p.predict({ input: p.file('in.jsonl', '\n') }), /in\.jsonl: no records, expected at least 1/],
  ['a header without records', (p) => p.predict({ input: p.file('in.csv', 'text,label\n') }), /in\.csv: no records/],
  [
    'a broken line',
    (p) => p.predict({ input: p.file('in.jsonl', '{"inputIds":[1]}\n{"inputIds":[1}\n') }),
    /in\.jsonl:2:15: invalid JSON, unexpected "\}/,
  ],
  [
    'a line that is no object',
    (p) => p.predict({ input: p.file('in.jsonl', '[1]\n') }),
    /in\.jsonl:1: .*\[1\], expected an object/,
  ],
  [
    'a key twice',
    (p) => p.predict({ input: p.file('in.jsonl', '{"inputIds":[1],"inputIds":[2]}\n') }),
    /in\.jsonl:1:17: key "inputIds" appears twice/,
  ],
  [
    'a column twice',
    (p) => p.predict({ input: p.file('in.csv', 'text,text\na,b\n') }),
    /in\.csv:1: column "text" appears twice/,
  ],
  [
    'neither text nor ids',
    (p) => p.predict({ input: p.lines({ body: 'x' }) }),
    /records\.jsonl:1: fields are "body", expected text/,
  ],
  [
    'a text that is no text',
    (p) => p.predict({ input: p.lines({ text: 3 }) }),
    /records\.jsonl:1: text is 3, expected a text/,
  ],
  [
    'an empty text',
    (p) => p.predict({ model: bundled.model, input: p.lines({ text: 'a' }, { text: '' }) }),
    /records\.jsonl:2: text is "", expected one that is not empty/,
  ],
  [
    'a blank text',
    (p) => p.predict({ model: bundled.model, input: p.lines({ text: ' \n ' }) }),
    /records\.jsonl:1: text is " \\n ", expected one that is not empty/,
  ],
  [
    'an empty text in a table',
    (p) => p.train('--model', bundled.model, '--train-file', p.file('t.tsv', 'sentence\tlabel\nfine\t1\n\t0\n')),
    /t\.tsv:3: text is "", expected one that is not empty/,
  ],
  [
    'text without a tokenizer',
    (p) => p.predict({ input: p.lines({ text: 'a' }) }),
    /records\.jsonl:1: text needs a tokenizer/,
  ],
  [
    'no ids',
    (p) => p.predict({ input: p.lines({ inputIds: [] }) }),
    /records\.jsonl:1: inputIds is empty, expected at least 1 token id/,
  ],
  [
    'an id outside the vocabulary',
    (p) => p.predict({ input: p.lines({ inputIds: [1] }, { inputIds: [5, 57] }) }),
    /records\.jsonl:2: inputIds has the token id 57, expected 0 to 56/,
  ],
  [
    'a negative id',
    (p) => p.predict({ input: p.lines({ inputIds: [-1] }) }),
    /records\.jsonl:1: inputIds\[0\] is -1, expected a whole number/,
  ],
  [
    'an id that is no number',
    (p) => p.predict({ input: p.lines({ inputIds: [1, 'x'] }) }),
    /records\.jsonl:1: inputIds\[1\] is "x", expected a whole number/,
  ],
  [
    'a row with too many columns',
    (p) => p.predict({ input: p.file('in.tsv', 'text\tlabel\na\t1\t2\n') }),
    /in\.tsv:2: 3 columns, expected 2/,
  ],
  [
    'a quote that does not end',
    (p) => p.predict({ input: p.file('in.csv', 'text,label\n"a,1\n') }),
    /in\.csv.*: invalid CSV/,
  ],
  [
    'text that is not UTF-8',
    (p) => p.predict({ input: p.file('in.jsonl', Uint8Array.of(0x7b, 0xff, 0xfe)) }),
    /in\.jsonl: expected UTF-8 text/,
  ],
  [
    'no label',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: 0 }, { inputIds: [1] })),
    /records\.jsonl:2: label is missing/,
  ],
  [
    'an unknown label',
    (p) => [
      'eval',
      '--model',
      named(p),
      '--valid-file',
      p.lines({ inputIds: [1], label: 'good' }, { inputIds: [1], label: 'meh' }),
    ],
    /records\.jsonl:2: label is "meh", expected one of "bad", "good"/,
  ],
  [
    'an unknown label in training',
    (p) => p.train('--model', named(p), '--train-file', p.lines({ inputIds: [1], label: 'meh' })),
    /records\.jsonl:1: label is "meh", expected one of "bad", "good"/,
  ],
  [
    'a label that the training file lacks',
    (p) => p.train('--valid-file', writeLines(join(p.folder, 'v.jsonl'), [{ inputIds: [1], label: 2 }])),
    /v\.jsonl:1: label is 2, expected 0 to 1/,
  ],
  [
    'a class number beyond the model’s',
    (p) => ['eval', '--model', RELU.model, '--valid-file', p.lines({ inputIds: [1], label: 2 })],
    /records\.jsonl:1: label is 2, expected 0 to 1/,
  ],
  [
    'more classes than the model’s head',
    (p) =>
      p.train(
        '--train-file',
        p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: 1 }, { inputIds: [1], label: 2 }),
      ),
    /classifier\.weight has shape \[2, 36\], expected \[3, 36\]/,
  ],
  [
    'names and numbers for labels',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: 'a' })),
    /records\.jsonl:2: label is "a", expected a number/,
  ],
  [
    'a negative label',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: -1 })),
    /records\.jsonl:2: label is -1, expected/,
  ],
  [
    'a label of the wrong type',
    (p) => p.train('--train-file', p.lines({ inputIds: [1], label: [0] })),
    /records\.jsonl:1: label is \[0\], expected a number or the name/,
  ],
  [
    'a single class',
    (p) =>
      p.train(
        '--model',
        bundled.model,
        '--train-file',
        p.lines({ inputIds: [1], label: 'a' }, { inputIds: [2], label: 'a' }),
      ),
    /records\.jsonl: every label is "a", expected at least 2 classes/,
  ],
]);
