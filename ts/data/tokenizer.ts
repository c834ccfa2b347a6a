import { Tokenizer as PackagePipeline } from '@huggingface/tokenizers';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { truncatePair } from './truncate-pair.js';

/** Options of Tokenizer.encode. */
export interface EncodeOptions {
  /** A second text, for sentence-pair tasks; an empty one still makes a pair. */
  textPair?: string | undefined;
  /** Most tokens of the result, special tokens included; default: no limit. */
  maxLength?: number | undefined;
}

/** One encoded example; both lists have one element a token. */
export interface EncodedText {
  inputIds: number[];
  tokenTypeIds: number[];
  /** Whether text was cut to fit `maxLength`. */
  truncated: boolean;
}

type JsonObject = Record<string, unknown>;

/** The parts of the package's tokenizer used here, stated because its type files do not resolve under NodeNext. */
interface Pipeline {
  normalizer: ((text: string) => string) | null;
  model: { unk_token_id?: number } | null;
  post_processor:
    | ((
        first: string[],
        second: string[] | null,
        special: boolean,
      ) => {
        tokens: string[];
        tokens_pair?: string[] | null;
        token_type_ids?: (number | undefined)[];
      })
    | null;
  tokenize(text: string, options: { add_special_tokens: boolean }): string[];
  token_to_id(token: string): number | undefined;
  get_vocab(withAdded: boolean): Map<string, number>;
}

/**
 * Turns text into token ids as a model's `tokenizer.json` prescribes, special tokens included. Its
 * padding and truncation settings are ignored: batches here are ragged, and the limit is the caller's.
 */
export class Tokenizer {
  /** Number of tokens, added ones included. */
  readonly vocabSize: number;
  /** Id of the padding token, if the tokenizer has one. */
  readonly padTokenId: number | undefined;
  /** Id of the mask token, if the tokenizer has one. */
  readonly maskTokenId: number | undefined;
  /** Ids that stand for no text: of `[CLS]`, `<pad>` and the like. */
  readonly specialTokenIds: readonly number[];
  /** `model_max_length` of tokenizer_config.json, if it is a real limit. */
  readonly modelMaxLength: number | undefined;
  readonly #pipeline: Pipeline;
  readonly #singleTypes: boolean;

  private constructor(pipeline: Pipeline, singleTypes: boolean, config: JsonObject, special: readonly number[]) {
    this.#pipeline = pipeline;
    this.#singleTypes = singleTypes;
    this.vocabSize = pipeline.get_vocab(true).size;
    const pad =
      typeof config['pad_token'] === 'object'
        ? (config['pad_token'] as JsonObject | null)?.['content']
        : config['pad_token'];
    this.padTokenId = [pad, '[PAD]', '<pad>']
      .flatMap((t) => (typeof t === 'string' ? [this.tokenToId(t)] : []))
      .find((id) => id !== undefined);
    const mask = config['mask_token'];
    this.maskTokenId = [isObject(mask) ? mask['content'] : mask, '[MASK]', '<mask>']
      .flatMap((t) => (typeof t === 'string' ? [this.tokenToId(t)] : []))
      .find((id) => id !== undefined);
    this.specialTokenIds = special;
    // transformers writes 1e30 for "no limit".
    const limit = config['model_max_length'];
    this.modelMaxLength = Number.isSafeInteger(limit) && (limit as number) > 0 ? (limit as number) : undefined;
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
    const absent = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
    try {
      // Only eos_token is passed on: the other settings would override what tokenizer.json says.
      const pipeline: Pipeline = new PackagePipeline(
        { ...absent, ...tokenizerJson },
        { eos_token: tokenizerConfigJson['eos_token'] },
      ) as unknown as Pipeline;
      repairNormalizer(pipeline, tokenizerJson['normalizer']);
      const added = tokenizerJson['added_tokens'];
      const special = (Array.isArray(added) ? added : []).flatMap((token: unknown) =>
        isObject(token) && token['special'] === true && typeof token['id'] === 'number' ? [token['id']] : [],
      );
      return new Tokenizer(pipeline, usesRoberta(tokenizerJson['post_processor']), tokenizerConfigJson, special);
    } catch (cause) {
      throw new DeftuneError(
        `${name}: not a usable tokenizer: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
  }

  /** The id of a token as spelled in the vocabulary. */
  tokenToId(token: string): number | undefined {
    return this.#pipeline.token_to_id(token);
  }

  /**
   * Encodes a text or a pair of texts. Over `maxLength`, special tokens stay and text is cut from the
   * right: of a pair, the longer text first, as transformers does.
   *
   * @throws DeftuneError when `maxLength` does not even hold the special tokens
   */
  encode(text: string, options: EncodeOptions = {}): EncodedText {
    const { textPair, maxLength } = options;
    let first = this.#pipeline.tokenize(text, { add_special_tokens: false });
    let second = textPair === undefined ? null : this.#pipeline.tokenize(textPair, { add_special_tokens: false });
    let truncated = false;
    if (maxLength !== undefined) {
      const special = this.#assemble([], second && []).tokens.length;
      if (!Number.isSafeInteger(maxLength) || maxLength < Math.max(special, 1)) {
        throw new DeftuneError(
          `maxLength is ${showValue(maxLength)}, expected a whole number of at least ${Math.max(special, 1)}, room for the special tokens`,
        );
      }
      const limit = maxLength - special;
      const [keepFirst, keepSecond] = second
        ? truncatePair(first.length, second.length, limit)
        : [Math.min(first.length, limit), 0];
      truncated = keepFirst < first.length || (second !== null && keepSecond < second.length);
      first = first.slice(0, keepFirst);
      second = second && second.slice(0, keepSecond);
    }
    const { tokens, types } = this.#assemble(first, second);
    const inputIds = tokens.map((token) => this.#idOf(token));
    return { inputIds, tokenTypeIds: types, truncated };
  }

  /** Adds the special tokens. */
  #assemble(first: string[], second: string[] | null): { tokens: string[]; types: number[] } {
    const processor = this.#pipeline.post_processor;
    const result: ReturnType<NonNullable<Pipeline['post_processor']>> = processor
      ? processor(first, second, true)
      : { tokens: first, tokens_pair: second };
    // Processors that add nothing (ByteLevel) leave the two sequences apart.
    const rest: string[] = result.tokens_pair ?? [];
    const tokens = [...result.tokens, ...rest];
    const given = (!this.#singleTypes && result.token_type_ids) || [];
    // Without a processor that says so, transformers gives the second text type 1 all the same.
    const own = rest.length > 0 ? result.tokens.length : tokens.length;
    const types = tokens.map((_, i) => given[i] ?? (i >= own ? 1 : 0));
    return { tokens, types };
  }

  #idOf(token: string): number {
    const id = this.#pipeline.token_to_id(token) ?? this.#pipeline.model?.unk_token_id;
    if (id === undefined)
      throw new DeftuneError(
        `token ${showValue(token)} is not in the vocabulary, and the tokenizer has no unknown token`,
      );
    return id;
  }
}

/** Whether the special tokens are RoBERTa's, which the reference gives type 0 throughout but the package does not. */
function usesRoberta(processor: unknown): boolean {
  if (!isObject(processor)) return false;
  const parts = processor['processors'];
  return processor['type'] === 'RobertaProcessing' || (Array.isArray(parts) && parts.some(usesRoberta));
}

/** Adapts text where the package's normalizers differ from the reference's. */
function repairNormalizer(pipeline: Pipeline, config: unknown): void {
  const { normalizer } = pipeline;
  if (!normalizer || !isObject(config)) return;
  const lowercases = someNormalizer(config, (part) => part['type'] === 'Lowercase' || part['lowercase'] === true);
  const setsApart = someNormalizer(
    config,
    (part) => part['type'] === 'BertNormalizer' && part['handle_chinese_chars'] === true,
  );
  pipeline.normalizer = (text) => {
    // JavaScript lowercases a final sigma to its final form; the reference knows no context.
    if (lowercases) text = text.replaceAll('Σ', 'σ');
    // The package looks at UTF-16 halves, so it misses the ideographs beyond U+FFFF.
    if (setsApart) text = text.replace(/[\u{20000}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu, ' $& ');
    return normalizer(text);
  };
}

function someNormalizer(config: unknown, holds: (part: JsonObject) => boolean): boolean {
  if (!isObject(config)) return false;
  const parts = config['normalizers'];
  return holds(config) || (Array.isArray(parts) && parts.some((part) => someNormalizer(part, holds)));
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
