// What a tokenizer makes of limits, windows, pairs, odd characters and its settings.
import test from 'ava';
import { Tokenizer, type EncodedText } from '../../ts/data/tokenizer.js';
import { DeftuneError } from '../../ts/error.js';
import { fixture } from './tokenizer-fixture.js';
import { json } from './word-piece-json.js';

/** What most tests look at. */
function idsOf({
  inputIds,
  tokenTypeIds,
  truncated,
}: EncodedText): Pick<EncodedText, 'inputIds' | 'tokenTypeIds' | 'truncated'> {
  return { inputIds, tokenTypeIds, truncated };
}

test('the padding and truncation of the file do not apply', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a'), {
    inputIds: [2, 4, 3],
    tokenTypeIds: [0, 0, 0],
    offsets: [
      [0, 0],
      [0, 1],
      [0, 0],
    ],
    sequenceIds: [null, 0, null],
    truncated: false,
  });
  t.deepEqual(tokenizer.encode('Ab a a a').inputIds, [2, 4, 5, 4, 4, 4, 3]);
  t.deepEqual(tokenizer.encode('Ab', { addSpecialTokens: false }).inputIds, [4, 5]);
  t.is(tokenizer.vocabSize, 7);
});

test('the limit keeps the special tokens', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(idsOf(tokenizer.encode('a ab a', { maxLength: 4 })), {
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

test('windows of a question and its context', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  const options = { textPair: 'ab a ab', maxLength: 7, truncation: 'only-second', stride: 1 } as const;
  const windows = tokenizer.encodeWindows('a', options);
  t.deepEqual(
    windows.map(({ inputIds }) => inputIds),
    [
      [2, 4, 3, 4, 5, 4, 3],
      [2, 4, 3, 4, 4, 5, 3],
    ],
  );
  t.deepEqual(windows[1]?.offsets, [
    [0, 0],
    [0, 1],
    [0, 0],
    [3, 4],
    [5, 6],
    [6, 7],
    [0, 0],
  ]);
  t.deepEqual(windows[1]?.sequenceIds, [null, 0, null, 1, 1, 1, null]);
  t.true(windows.every(({ truncated }) => truncated));
  t.throws(() => tokenizer.encodeWindows('a', { ...options, stride: 3 }), { message: /stride is 3, .* from 0 to 2/ });
  t.throws(() => tokenizer.encode('a a a a a', options), { message: /no room for the second text/ });
  t.throws(() => tokenizer.encode('a a a a a', { maxLength: 4, truncation: 'only-second' }), {
    message: /single text/,
  });
});

test('decode leaves out ids outside the vocabulary, and special tokens when asked', (t) => {
  const tokenizer = Tokenizer.fromJson({
    ...json,
    added_tokens: json.added_tokens.map((token) => ({ ...token, special: token.id > 1 })),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  });
  t.is(tokenizer.decode([2, 4, 5, 6, 99, -1, 3]), '[CLS] ab σ [SEP]');
  t.is(tokenizer.decode([2, 4, 5, 0, 3], { skipSpecialTokens: true }), 'ab [PAD]');
  t.is(tokenizer.decode([]), '');
  t.is(tokenizer.idToToken(5), '##b');
});

test('a pair has types 0 and 1, also when its second text is empty', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a', { textPair: 'a' }).tokenTypeIds, [0, 0, 0, 1, 1]);
  t.deepEqual(tokenizer.encode('a', { textPair: '' }).inputIds, [2, 4, 3, 3]);
});

test('a final sigma and ideographs beyond U+FFFF go as in the reference, lone surrogates as U+FFFD', (t) => {
  const tokenizer = Tokenizer.fromJson(json);
  t.deepEqual(tokenizer.encode('a Σ aΣ').inputIds, [2, 4, 6, 1, 3]);
  t.deepEqual(tokenizer.encode('\u{20000}\u{20001}a').inputIds, [2, 1, 1, 4, 3]);
  t.deepEqual(tokenizer.encode('a\ud800b \udc00').inputIds, tokenizer.encode('a\ufffdb \ufffd').inputIds);
});

test('RoBERTa pairs have type 0 throughout, and ByteLevel keeps the second text', (t) => {
  const roberta = Tokenizer.fromJson({
    ...json,
    post_processor: { ...json.post_processor, type: 'RobertaProcessing' },
  });
  t.deepEqual(idsOf(roberta.encode('a', { textPair: 'a' })), {
    inputIds: [2, 4, 3, 3, 4, 3],
    tokenTypeIds: [0, 0, 0, 0, 0, 0],
    truncated: false,
  });
  const bytes = Tokenizer.fromJson({
    ...json,
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
  });
  t.deepEqual(idsOf(bytes.encode('a', { textPair: 'ab' })), {
    inputIds: [4, 4, 5],
    tokenTypeIds: [0, 1, 1],
    truncated: false,
  });
});

test('settings of tokenizer_config.json', (t) => {
  t.is(Tokenizer.fromJson(json).padTokenId, 0);
  t.is(Tokenizer.fromJson(json).clsTokenId, undefined);
  t.is(Tokenizer.fromJson(json).modelMaxLength, undefined);
  t.is(Tokenizer.fromJson(json, { model_max_length: 1e30 }).modelMaxLength, undefined);
  const tokenizer = Tokenizer.fromJson(json, {
    model_max_length: 256,
    pad_token: { content: '[SEP]' },
    cls_token: 'a',
  });
  t.is(tokenizer.modelMaxLength, 256);
  t.is(tokenizer.padTokenId, 3);
  t.is(tokenizer.clsTokenId, 4);
  t.is(Tokenizer.fromJson(json, { tokenizer_class: 'BertTokenizerFast' }).sepTokenId, 3);
  t.is(Tokenizer.fromJson(json, { clean_up_tokenization_spaces: true }).decode([4, 4]), 'a a');
});

test('long words and long texts take time in proportion', (t) => {
  const word = 'ab'.repeat(100_000);
  const bpe = Tokenizer.fromJson(fixture.small['roberta']?.tokenizer);
  t.is(bpe.decode(bpe.encode(word, { addSpecialTokens: false }).inputIds).trim(), word);
  const unigram = Tokenizer.fromJson(fixture.small['t5']?.tokenizer);
  t.true(unigram.encode(word).inputIds.length > 10_000);
  const wordPiece = Tokenizer.fromJson(fixture.small['bert']?.tokenizer);
  t.is(wordPiece.encode(`${word} x`).inputIds.length, 4);
});
