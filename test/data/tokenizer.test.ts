import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { Tokenizer, type EncodedText, type Truncation } from '../../ts/data/tokenizer.js';
import { DeftuneError } from '../../ts/error.js';

const shared = process.env['DEFTUNE_SHARED'] ?? fileURLToPath(new URL('../../../shared', import.meta.url));

type Edges = number[];
/** Number of the text, ids, starts and ends, and what they decode to: ids, text, text without special tokens. */
type Single = [text: number, ids: number[], edges: Edges, decoded: [number[], string, string] | null];
/** Texts by number, and the windows: ids, types, offsets and sequence ids; null where the reference refuses. */
interface Pair {
  text: number;
  pair: number | null;
  maxLength: number | null;
  stride: number;
  truncation: Truncation;
  windows: unknown[][] | null;
}
interface Cases {
  vocabSize: number;
  singles: Single[];
  pairs: Pair[];
}
interface Folder {
  files: Record<string, string>;
  vocabulary: string;
  vocabSize: number;
  special: Record<'bos' | 'eos' | 'unk' | 'sep' | 'cls' | 'mask', number | null>;
  cases: [ids: number[], types: number[], edges: Edges, decoded: string][];
}
/** Made by test/fixtures/make_tokenizers.py with the reference implementation. */
const fixture = JSON.parse(readFileSync(new URL('./tokenizers.json', import.meta.url), 'utf8')) as {
  texts: string[];
  small: Record<string, Cases & { tokenizer: unknown }>;
  models: Record<string, Cases>;
  vocabularyFiles: { files: Record<string, Record<string, string>>; folders: Record<string, Folder> };
};
const { texts } = fixture;

function compare(t: ExecutionContext, tokenizer: Tokenizer, { vocabSize, singles, pairs }: Cases): void {
  t.is(tokenizer.vocabSize, vocabSize);
  for (const [at, ids, edges, decoded] of singles) {
    const found = tokenizer.encode(texts[at]!);
    t.deepEqual(found.inputIds, ids, texts[at]);
    t.deepEqual(found.offsets.flat(), edges, texts[at]);
    t.false(found.truncated);
    if (!decoded) continue;
    t.is(tokenizer.decode(decoded[0]), decoded[1]);
    t.is(tokenizer.decode(decoded[0], { skipSpecialTokens: true }), decoded[2]);
  }
  for (const { text, pair, maxLength, stride, truncation, windows } of pairs) {
    const textPair = pair === null ? undefined : texts[pair];
    const options = { textPair, maxLength: maxLength ?? undefined, stride, truncation };
    const run = () => tokenizer.encodeWindows(texts[text]!, options);
    const what = JSON.stringify({ text: texts[text], ...options });
    if (!windows) {
      t.throws(run, { instanceOf: DeftuneError }, what);
      continue;
    }
    const found = run().map((window, index) =>
      [window.inputIds, window.tokenTypeIds, window.offsets, window.sequenceIds].slice(0, windows[index]?.length),
    );
    t.deepEqual(found, windows, what);
    if (stride === 0) t.deepEqual(tokenizer.encode(texts[text]!, options), run()[0], what);
  }
}

for (const [name, cases] of Object.entries(fixture.small)) {
  test(`${name}: token for token as the reference`, (t) => {
    compare(t, Tokenizer.fromJson(cases.tokenizer), cases);
  });
}

for (const [model, cases] of Object.entries(fixture.models)) {
  const dir = join(shared, 'models', model);
  const maybe = existsSync(dir) ? test : test.skip;
  maybe(`${model}: token for token as the reference`, async (t) => {
    compare(t, await AutoTokenizer.fromPretrained(dir), cases);
  });
}

for (const [name, folder] of Object.entries(fixture.vocabularyFiles.folders)) {
  test(`vocabulary files ${name}: as transformers makes a tokenizer of them`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'deftune-vocabulary-'));
    t.teardown(() => rmSync(dir, { recursive: true }));
    const files = { ...folder.files, ...fixture.vocabularyFiles.files[folder.vocabulary] };
    for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text);
    const tokenizer = await AutoTokenizer.fromPretrained(dir);
    t.is(tokenizer.vocabSize, folder.vocabSize);
    const { bosTokenId, eosTokenId, unkTokenId, sepTokenId, clsTokenId, maskTokenId } = tokenizer;
    const special = {
      bos: bosTokenId,
      eos: eosTokenId,
      unk: unkTokenId,
      sep: sepTokenId,
      cls: clsTokenId,
      mask: maskTokenId,
    };
    for (const [role, id] of Object.entries(special)) t.is(id ?? null, folder.special[role as 'bos'], role);
    const chosen = texts.filter((_, at) => at % 3 === 0);
    for (const [at, [ids, types, edges, decoded]] of folder.cases.entries()) {
      const pair = at % 4 === 2 ? chosen[(at + 1) % chosen.length] : undefined;
      // transformers takes an empty second text for none.
      const found = tokenizer.encode(chosen[at]!, { textPair: pair === '' ? undefined : pair });
      t.deepEqual([found.inputIds, found.tokenTypeIds, found.offsets.flat()], [ids, types, edges], chosen[at]);
      t.is(tokenizer.decode(ids, { skipSpecialTokens: true }), decoded);
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
