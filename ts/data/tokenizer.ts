import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { AddedTokens } from './tokenization/added-tokens.js';
import type { AlignedText } from './tokenization/aligned-text.js';
import { cleanUpSpaces, buildDecoder, type Decoder } from './tokenization/decoders.js';
import { buildTokenModel } from './tokenization/models/index.js';
import type { TokenModel } from './tokenization/models/token-model.js';
import { buildNormalizer } from './tokenization/normalizers.js';
import { buildPostProcessor, type PostProcessor } from './tokenization/post-processors.js';
import { buildPreTokenizer, type PreTokenizer } from './tokenization/pre-tokenizers.js';
import { specialTokensOf, type SpecialTokenRole } from './tokenization/special-tokens.js';
import type { SequenceId, Token } from './tokenization/token.js';
import { cutToLimit, type Truncation } from './tokenization/windows.js';

export type { SequenceId } from './tokenization/token.js';
export type { Truncation } from './tokenization/windows.js';

/** Options of Tokenizer.encode. */
export interface EncodeOptions {
  /** A second text, for sentence pairs and for question and context; an empty one still makes a pair. */
  textPair?: string | undefined;
  /** Most tokens of the result, special tokens included; default: no limit. */
  maxLength?: number | undefined;
  /** What is cut to fit `maxLength`; default `longest-first`. */
  truncation?: Truncation | undefined;
  /** Whether to add the special tokens; default true. */
  addSpecialTokens?: boolean | undefined;
}

/** Options of Tokenizer.encodeWindows. */
export interface WindowOptions extends EncodeOptions {
  /** Tokens of the text being cut that a window repeats from the one before; default 0. */
  stride?: number | undefined;
}

/** One encoded example; each list has one element a token. */
export interface EncodedText {
  inputIds: number[];
  tokenTypeIds: number[];
  /** Where each token stands in its text: start and end (exclusive) in UTF-16 units. [0, 0] for added special tokens. */
  offsets: [start: number, end: number][];
  /** The text that each token belongs to: 0, or 1 for `textPair`; null for added special tokens. */
  sequenceIds: SequenceId[];
  /** Whether text was cut to fit `maxLength`. */
  truncated: boolean;
}

/** Options of Tokenizer.decode. */
export interface DecodeOptions {
  /** Whether to leave out special tokens; default false. */
  skipSpecialTokens?: boolean | undefined;
}

type JsonObject = Record<string, unknown>;

/**
 * Turns text into token ids and back as a model's `tokenizer.json` prescribes, like the Rust library `tokenizers`. The file's padding
 * and truncation settings are ignored: batches here are ragged, and the limit is the caller's. Lone surrogates, which UTF-8 cannot
 * express, are read as U+FFFD.
 */
export class Tokenizer {
  /** Number of tokens, added ones included. */
  readonly vocabSize: number;
  /** `model_max_length` of tokenizer_config.json, if it is a real limit. */
  readonly modelMaxLength: number | undefined;
  readonly padTokenId: number | undefined;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly clsTokenId: number | undefined;
  readonly sepTokenId: number | undefined;
  readonly maskTokenId: number | undefined;
  /** Ids that stand for no text: of `[CLS]`, `<pad>` and the like. */
  readonly specialTokenIds: readonly number[];
  readonly #model: TokenModel;
  readonly #added: AddedTokens;
  readonly #preTokenizer: PreTokenizer | undefined;
  readonly #postProcessor: PostProcessor | undefined;
  readonly #decoder: Decoder | undefined;
  readonly #cleansUp: boolean;

  private constructor(json: JsonObject, config: JsonObject, name: string) {
    const at = (part: string): string => `${name}: ${part}`;
    const has = (part: string): boolean => json[part] !== undefined && json[part] !== null;
    this.#model = buildTokenModel(json['model'], at('model'));
    const normalizer = has('normalizer') ? buildNormalizer(json['normalizer'], at('normalizer')) : undefined;
    this.#added = new AddedTokens(
      json['added_tokens'] ?? [],
      this.#model,
      normalizer ?? ((text) => text),
      at('added_tokens'),
    );
    this.#preTokenizer = has('pre_tokenizer')
      ? buildPreTokenizer(json['pre_tokenizer'], at('pre_tokenizer'))
      : undefined;
    this.#postProcessor = has('post_processor')
      ? buildPostProcessor(json['post_processor'], at('post_processor'))
      : undefined;
    this.#decoder = has('decoder') ? buildDecoder(json['decoder'], at('decoder')) : undefined;
    this.vocabSize = this.#model.vocabSize + this.#added.count;
    // transformers writes 1e30 for "no limit".
    const limit = config['model_max_length'];
    this.modelMaxLength = Number.isSafeInteger(limit) && (limit as number) > 0 ? (limit as number) : undefined;
    const isMerging = (json['model'] as JsonObject)['merges'] !== undefined;
    // transformers leaves the text of byte-pair encodings alone.
    this.#cleansUp = config['clean_up_tokenization_spaces'] === true && !isMerging;
    const special = specialTokensOf(config, (token) => this.tokenToId(token) !== undefined);
    const idOf = (role: SpecialTokenRole): number | undefined => {
      const token = special[role];
      return token === undefined ? undefined : this.tokenToId(token);
    };
    this.padTokenId = idOf('pad');
    this.bosTokenId = idOf('bos');
    this.eosTokenId = idOf('eos');
    this.unkTokenId = idOf('unk');
    this.clsTokenId = idOf('cls');
    this.sepTokenId = idOf('sep');
    this.maskTokenId = idOf('mask');
    this.specialTokenIds = this.#added.specialIds();
  }

  /**
   * Builds a tokenizer from parsed files.
   *
   * @param tokenizerJson the content of tokenizer.json
   * @param tokenizerConfigJson the content of tokenizer_config.json; default `{}`
   * @param name the file's name, for messages; default `tokenizer.json`
   * @throws DeftuneError when the content is not a tokenizer this library can run
   */
  static fromJson(tokenizerJson: unknown, tokenizerConfigJson: unknown = {}, name = 'tokenizer.json'): Tokenizer {
    if (!isObject(tokenizerJson) || !isObject(tokenizerJson['model'])) {
      const found = isObject(tokenizerJson) ? tokenizerJson['model'] : tokenizerJson;
      throw new DeftuneError(`${name}: model is ${showValue(found)}, expected an object with the vocabulary`);
    }
    if (!isObject(tokenizerConfigJson)) {
      throw new DeftuneError(
        `${name}: its tokenizer_config.json is ${showValue(tokenizerConfigJson)}, expected an object`,
      );
    }
    return new Tokenizer(tokenizerJson, tokenizerConfigJson, name);
  }

  /** The id of a token as spelled in the vocabulary. */
  tokenToId(token: string): number | undefined {
    return this.#added.idOf(token) ?? this.#model.tokenToId(token);
  }

  /** The token of an id, as spelled in the vocabulary. */
  idToToken(id: number): string | undefined {
    return this.#added.tokenOf(id) ?? this.#model.idToToken(id);
  }

  /**
   * Encodes a text or a pair of texts. Over `maxLength`, special tokens stay and text is cut from the right.
   *
   * @throws DeftuneError when `maxLength` does not even hold the special tokens, or the text to be cut is too short
   */
  encode(text: string, options: EncodeOptions = {}): EncodedText {
    const [tokens, isCut] = this.#assemble(text, options, 0, true);
    return toEncoded(tokens[0]!, isCut);
  }

  /**
   * Encodes a text or a pair in as many overlapping windows as `maxLength` needs, in the order of transformers'
   * `return_overflowing_tokens`. For question answering: `encodeWindows(question, { textPair: context, truncation: 'only-second', … })`.
   *
   * @throws DeftuneError as encode does, and when `stride` leaves nothing new for a window
   */
  encodeWindows(text: string, { stride = 0, ...options }: WindowOptions = {}): EncodedText[] {
    const [windows, isCut] = this.#assemble(text, options, stride, false);
    return windows.map((tokens) => toEncoded(tokens, isCut));
  }

  /**
   * The text of token ids; those outside the vocabulary are left out.
   *
   * @param ids token ids, special ones included
   */
  decode(ids: Iterable<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const tokens: string[] = [];
    for (const id of ids) {
      const token = this.idToToken(id);
      if (token !== undefined && !(skipSpecialTokens && this.#added.isSpecial(token))) tokens.push(token);
    }
    const text = this.#decoder ? this.#decoder(tokens).join('') : tokens.join(' ');
    return this.#cleansUp ? cleanUpSpaces(text) : text;
  }

  /** The tokens of each window (or of the first alone), and whether anything was cut. */
  #assemble(text: string, options: EncodeOptions, stride: number, firstOnly: boolean): [Token[][], boolean] {
    const { textPair, maxLength, truncation = 'longest-first', addSpecialTokens = true } = options;
    const texts = [this.#tokenize(text, 0), ...(textPair === undefined ? [] : [this.#tokenize(textPair, 1)])];
    const special = addSpecialTokens ? (this.#postProcessor?.added(texts.length > 1) ?? 0) : 0;
    if (maxLength !== undefined && (!Number.isSafeInteger(maxLength) || maxLength < Math.max(special, 1))) {
      throw new DeftuneError(
        `maxLength is ${showValue(maxLength)}, expected a whole number of at least ${Math.max(special, 1)}, room for the special tokens`,
      );
    }
    const lengths = texts.map((tokens) => tokens.length) as [number] | [number, number];
    const limit = maxLength === undefined ? undefined : maxLength - special;
    const windows = cutToLimit(lengths, limit, truncation, stride);
    const isCut = windows.some((list) => list.length > 1);
    const combinations = firstOnly ? [texts.map(() => 0)] : combine(windows.map((list) => list.length));
    const results = combinations.map((indexes) => {
      const parts = texts.map((tokens, i) => tokens.slice(...windows[i]![indexes[i]!]!));
      const isOverflow = indexes.map((index) => index > 0);
      return (this.#postProcessor?.process(parts, isOverflow, addSpecialTokens) ?? parts).flat();
    });
    return [results, isCut];
  }

  #tokenize(text: string, sequenceId: 0 | 1): Token[] {
    const source = text.replace(/\p{Surrogate}/gu, '\ufffd');
    const tokens: Token[] = [];
    const put = (id: number, word: AlignedText, from: number, to: number): void => {
      const [start, end] = word.spanOf(from, to);
      tokens.push({ id, value: word.text.slice(from, to), source, start, end, typeId: sequenceId, sequenceId });
    };
    for (const piece of this.#added.split(source)) {
      if (piece.id !== undefined) {
        put(piece.id, piece.text, 0, piece.text.text.length);
        continue;
      }
      for (const word of this.#preTokenizer?.(piece.text) ?? [piece.text]) {
        for (const { id, start, end } of this.#model.tokenize(word.text)) put(id, word, start, end);
      }
    }
    return tokens;
  }
}

/** Pairs of windows in the reference's order: the first of both, then each further one of the first text with all of the second, … */
function combine([first = 1, second]: readonly number[]): number[][] {
  if (second === undefined) return Array.from({ length: first }, (_, i) => [i]);
  const pairs = (i: number): number[][] => Array.from({ length: second }, (_, j) => [i, j]);
  const [whole, ...rest] = pairs(0);
  return [whole!, ...Array.from({ length: first - 1 }, (_, i) => pairs(i + 1)).flat(), ...rest];
}

function toEncoded(tokens: readonly Token[], truncated: boolean): EncodedText {
  return {
    inputIds: tokens.map(({ id }) => id),
    tokenTypeIds: tokens.map(({ typeId }) => typeId),
    offsets: tokens.map(({ start, end }) => [start, end]),
    sequenceIds: tokens.map(({ sequenceId }) => sequenceId),
    truncated,
  };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
