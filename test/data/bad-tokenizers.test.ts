// Files that are wrong or no tokenizer: an error that names them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { Tokenizer } from '../../ts/data/tokenizer.js';
import { DeftuneError } from '../../ts/error.js';
import { json } from './word-piece-json.js';

/** Parts of a file that are wrong, and what the message says. */
const wrong: [object, RegExp][] = [
  [{ model: { type: 'Odd' } }, /^x.json: model.type is "Odd", expected one of BPE, Unigram, WordLevel, WordPiece$/],
  [{ model: { ...json.model, vocab: [] } }, /^x.json: model: vocab is \[\], expected an object/],
  [{ model: { ...json.model, vocab: { a: 1.5 } } }, /vocab "a" is 1.5, expected a whole number/],
  [{ model: { ...json.model, unk_token: 'b' } }, /unk_token is "b", expected a token of the vocabulary/],
  [{ model: { type: 'BPE', vocab: { a: 0 }, merges: ['a'] } }, /merges.0 is "a", expected two tokens/],
  [{ model: { type: 'BPE', vocab: { a: 0 }, merges: [['a', 'a']] } }, /merges.0 needs the token "aa"/],
  [{ model: { type: 'BPE', vocab: { a: 0 }, merges: [], dropout: 0.1 } }, /dropout is 0.1/],
  [{ model: { type: 'Unigram', vocab: [['a']], unk_id: 0 } }, /vocab.0 is \["a"\], expected a token and its score/],
  [{ model: { type: 'Unigram', vocab: [['a', 0]], unk_id: 3 } }, /unk_id is 3, expected a whole number from 0 to 0/],
  [{ added_tokens: {} }, /added_tokens is {}, expected a list/],
  [{ added_tokens: [{ id: 0 }] }, /added_tokens.0: content is undefined/],
  [{ normalizer: 'NFC' }, /normalizer is "NFC", expected an object/],
  [
    { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'X' }] } },
    /normalizer.normalizers.1.type is "X"/,
  ],
  [{ normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } }, /precompiled_charsmap is not a compiled/],
  [
    { normalizer: { type: 'Replace', pattern: { Regex: '(' }, content: '' } },
    /normalizer.pattern is "\(", a regular expression/,
  ],
  [{ pre_tokenizer: { type: 'Metaspace' } }, /pre_tokenizer: replacement is undefined/],
  [{ post_processor: { type: 'BertProcessing', cls: ['a', 1] } }, /post_processor: sep is undefined/],
  [
    {
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '[X]', type_id: 0 } }],
        pair: [],
        special_tokens: {},
      },
    },
    /has no entry for "\[X\]"/,
  ],
  [{ decoder: { type: 'Strip' } }, /decoder: content is undefined/],
];

test('what is wrong with a file is named', (t) => {
  for (const [part, message] of wrong) {
    t.throws(() => Tokenizer.fromJson({ ...json, ...part }, {}, 'x.json'), { instanceOf: DeftuneError, message });
  }
});

test('files that are no tokenizer are named', async (t) => {
  t.throws(() => Tokenizer.fromJson({}, {}, 'x.json'), {
    instanceOf: DeftuneError,
    message: /^x.json: model is undefined/,
  });
  t.throws(() => Tokenizer.fromJson(null), { message: /model is null/ });
  t.throws(() => Tokenizer.fromJson(json, []), { message: /tokenizer_config.json is \[\]/ });
  const dir = mkdtempSync(join(tmpdir(), 'deftune-tokenizer-'));
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), {
    instanceOf: DeftuneError,
    message: /tokenizer.json is missing/,
  });
  writeFileSync(join(dir, 'spiece.model'), '');
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), { message: /spiece.model cannot be read/ });
  writeFileSync(join(dir, 'vocab.txt'), '[UNK]\n[CLS]\n[SEP]\na\n');
  writeFileSync(join(dir, 'tokenizer_config.json'), '{"do_lower_case": 1}');
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), {
    message: /vocab.txt: do_lower_case of .* is 1, expected true or false/,
  });
  writeFileSync(join(dir, 'tokenizer_config.json'), '[]');
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), { message: /tokenizer_config.json: the file holds \[\]/ });
  rmSync(join(dir, 'tokenizer_config.json'));
  writeFileSync(join(dir, 'vocab.json'), '[]');
  writeFileSync(join(dir, 'merges.txt'), '');
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), {
    message: /vocab.json: the file holds \[\], expected an object of ids/,
  });
  rmSync(dir, { recursive: true });
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), { message: /no such folder/ });
});
