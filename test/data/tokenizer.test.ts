import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { Tokenizer } from '../../ts/data/tokenizer.js';
import { DeftuneError } from '../../ts/error.js';

const shared = process.env['DEFTUNE_SHARED'] ?? fileURLToPath(new URL('../../../shared', import.meta.url));

interface Case {
  text: string;
  textPair?: string;
  maxLength?: number;
  inputIds: number[];
  tokenTypeIds: number[];
}
/** Made by test/fixtures/make_tokenizer.py with the reference implementation. */
const fixture = JSON.parse(readFileSync(new URL('./tokenizer.json', import.meta.url), 'utf8')) as Record<
  string,
  { vocabSize: number; cases: Case[] }
>;

for (const [model, { vocabSize, cases }] of Object.entries(fixture)) {
  const dir = join(shared, 'models', model);
  const maybe = existsSync(dir) ? test : test.skip;
  maybe(`${model}: token for token as the reference`, async (t) => {
    const tokenizer = await AutoTokenizer.fromPretrained(dir);
    t.is(tokenizer.vocabSize, vocabSize);
    for (const { text, textPair, maxLength, inputIds, tokenTypeIds } of cases) {
      const found = tokenizer.encode(text, { textPair, maxLength });
      const what = JSON.stringify({ text: text.slice(0, 60), textPair, maxLength });
      t.deepEqual(found.inputIds, inputIds, what);
      t.deepEqual(found.tokenTypeIds, tokenTypeIds, what);
      if (maxLength === undefined) t.false(found.truncated);
    }
  });
}

const json = {
  padding: { strategy: { Fixed: 9 }, direction: 'Right', pad_id: 0, pad_type_id: 0, pad_token: '[PAD]' },
  truncation: { max_length: 4, strategy: 'LongestFirst', stride: 0 },
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'].map((content, id) => ({
    id,
    content,
    special: true,
    normalized: false,
  })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: { type: 'BertProcessing', cls: ['[CLS]', 2], sep: ['[SEP]', 3] },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: { '[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, a: 4, '##b': 5, σ: 6 },
  },
};

test('the padding and truncation of the file do not apply', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a'), { inputIds: [2, 4, 3], tokenTypeIds: [0, 0, 0], truncated: false });
  t.deepEqual(tokenizer.encode('Ab a a a').inputIds, [2, 4, 5, 4, 4, 4, 3]);
  t.is(tokenizer.vocabSize, 7);
});

test('the limit keeps the special tokens', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a ab a', { maxLength: 4 }), {
    inputIds: [2, 4, 4, 3],
    tokenTypeIds: [0, 0, 0, 0],
    truncated: true,
  });
  t.false(tokenizer.encode('a a', { maxLength: 4 }).truncated);
  t.deepEqual(tokenizer.encode('a', { maxLength: 2 }).inputIds, [2, 3]);
  t.throws(() => tokenizer.encode('a', { maxLength: 1 }), {
    instanceOf: DeftuneError,
    message: /maxLength is 1, .* at least 2/,
  });
  t.throws(() => tokenizer.encode('a', { maxLength: 2, textPair: '' }), { message: /at least 3/ });
  t.throws(() => tokenizer.encode('a', { maxLength: 2.5 }), { message: /maxLength is 2.5/ });
});

test('a pair has types 0 and 1, also when its second text is empty', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a', { textPair: 'a' }).tokenTypeIds, [0, 0, 0, 1, 1]);
  t.deepEqual(tokenizer.encode('a', { textPair: '' }).inputIds, [2, 4, 3, 3]);
});

test('a final sigma and ideographs beyond U+FFFF go as in the reference', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a Σ aΣ').inputIds, [2, 4, 6, 1, 3]);
  t.deepEqual(tokenizer.encode('\u{20000}\u{20001}a').inputIds, [2, 1, 1, 4, 3]);
});

test('RoBERTa pairs have type 0 throughout, and ByteLevel keeps the second text', (t) => {
  const roberta = Tokenizer.fromJson({
    ...json,
    post_processor: { ...json.post_processor, type: 'RobertaProcessing' },
  });
  t.deepEqual(roberta.encode('a', { textPair: 'a' }), {
    inputIds: [2, 4, 3, 3, 4, 3],
    tokenTypeIds: [0, 0, 0, 0, 0, 0],
    truncated: false,
  });
  const bytes = Tokenizer.fromJson({ ...json, post_processor: { type: 'ByteLevel' } });
  t.deepEqual(bytes.encode('a', { textPair: 'ab' }), {
    inputIds: [4, 4, 5],
    tokenTypeIds: [0, 1, 1],
    truncated: false,
  });
});

test('settings of tokenizer_config.json', (t) => {
  t.is(Tokenizer.fromJson(json).padTokenId, 0);
  t.is(Tokenizer.fromJson(json).modelMaxLength, undefined);
  t.is(Tokenizer.fromJson(json, { model_max_length: 1e30 }).modelMaxLength, undefined);
  const tokenizer = Tokenizer.fromJson(json, { model_max_length: 256, pad_token: { content: '[SEP]' } });
  t.is(tokenizer.modelMaxLength, 256);
  t.is(tokenizer.padTokenId, 3);
});

test('files that are no tokenizer are named', async (t) => {
  t.throws(() => Tokenizer.fromJson({}, {}, 'x.json'), {
    instanceOf: DeftuneError,
    message: /^x.json: model is undefined/,
  });
  t.throws(() => Tokenizer.fromJson(null), { message: /model is null/ });
  t.throws(() => Tokenizer.fromJson({ model: { type: 'Odd' } }), {
    instanceOf: DeftuneError,
    message: /not a usable tokenizer/,
  });
  t.throws(() => Tokenizer.fromJson(json, []), { message: /tokenizer_config.json is \[\]/ });
  const dir = mkdtempSync(join(tmpdir(), 'deftune-tokenizer-'));
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), {
    instanceOf: DeftuneError,
    message: /tokenizer.json is missing/,
  });
  rmSync(dir, { recursive: true });
  await t.throwsAsync(AutoTokenizer.fromPretrained(dir), { message: /no such folder/ });
});
