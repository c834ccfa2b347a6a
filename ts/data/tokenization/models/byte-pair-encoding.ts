import { z } from 'zod';
import { DeftuneError } from '../../../error.js';
import { showValue } from '../../../io/show-value.js';
import { readFields, type ComponentJson } from '../component.js';
import { MinHeap } from './min-heap.js';
import type { TokenModel, WordToken } from './token-model.js';
import { Vocabulary, vocabularyField } from './vocabulary.js';
import { WordMemory } from './word-memory.js';

const schema = z.object({
  vocab: vocabularyField,
  merges: z.array(z.unknown()),
  dropout: z.number().nullish(),
  unk_token: z.string().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: z.boolean().default(false),
  byte_fallback: z.boolean().default(false),
  ignore_merges: z.boolean().default(false),
});

/** A symbol of a word in the making; a merged one's right part has `isGone`. */
interface Symbol extends WordToken {
  previous: number;
  next: number;
  isGone: boolean;
}

interface Merge {
  rank: number;
  id: number;
}

/** Pairs of ids as one number: vocabularies have at most 1e7 tokens. */
const PAIR = 2 ** 24;
/** Queue entries as one number, first by rank, then by position. */
const POSITION = 2 ** 26;

/** Byte-pair encoding: merges neighbours in the order in which the merges were learned (Sennrich et al., 2016, algorithm 1). */
export class BytePairEncoding implements TokenModel {
  readonly #vocabulary: Vocabulary;
  readonly #fields: z.infer<typeof schema>;
  readonly #merges = new Map<number, Merge>();
  readonly #unknown: number | undefined;
  readonly #memory = new WordMemory();
  readonly #encoder = new TextEncoder();

  constructor(json: ComponentJson, where: string) {
    this.#fields = readFields(schema, json, where);
    const { vocab, merges, dropout, unk_token, continuing_subword_prefix } = this.#fields;
    if (dropout)
      throw new DeftuneError(
        `${where}: dropout is ${showValue(dropout)}, expected null: ids must not depend on chance`,
      );
    this.#vocabulary = new Vocabulary(vocab, where);
    const known = (token: string, rank: number): number => {
      const id = this.#vocabulary.idOf(token);
      if (id !== undefined) return id;
      throw new DeftuneError(
        `${where}: merges.${rank} needs the token ${showValue(token)}, which is not in the vocabulary`,
      );
    };
    const prefix = continuing_subword_prefix?.length ?? 0;
    merges.forEach((merge, rank) => {
      const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
      if (!isPair(pair)) {
        throw new DeftuneError(
          `${where}: merges.${rank} is ${showValue(merge)}, expected two tokens separated by one space`,
        );
      }
      const [left, right] = pair;
      const key = known(left, rank) * PAIR + known(right, rank);
      // A pair listed twice counts where it stands last.
      this.#merges.set(key, { rank, id: known(left + right.slice(prefix), rank) });
    });
    this.#unknown = unk_token ? this.#vocabulary.idOf(unk_token) : undefined;
    if (unk_token && this.#unknown === undefined) {
      throw new DeftuneError(`${where}: unk_token is ${showValue(unk_token)}, expected a token of the vocabulary`);
    }
  }

  get vocabSize(): number {
    return this.#vocabulary.size;
  }

  tokenToId(token: string): number | undefined {
    return this.#vocabulary.idOf(token);
  }

  idToToken(id: number): string | undefined {
    return this.#vocabulary.tokenOf(id);
  }

  tokenize(word: string): readonly WordToken[] {
    const whole = this.#fields.ignore_merges ? this.#vocabulary.idOf(word) : undefined;
    if (whole !== undefined) return [{ id: whole, start: 0, end: word.length }];
    return this.#memory.get(word, (text) => this.#merge(this.#symbolsOf(text)));
  }

  /** One token a character; for characters that have none, their bytes' or the unknown token. */
  #symbolsOf(word: string): WordToken[] {
    const { continuing_subword_prefix: prefix, end_of_word_suffix: suffix, fuse_unk, byte_fallback } = this.#fields;
    const symbols: WordToken[] = [];
    let unknown: WordToken | undefined;
    let start = 0;
    for (const char of word) {
      const end = start + char.length;
      const spelled = (start > 0 ? (prefix ?? '') : '') + char + (end === word.length ? (suffix ?? '') : '');
      const id = this.#vocabulary.idOf(spelled);
      const bytes = id === undefined && byte_fallback ? this.#bytesOf(spelled) : undefined;
      if (bytes) symbols.push(...bytes.map((byteId) => ({ id: byteId, start, end })));
      else if (id !== undefined) {
        // Only a known character ends a run of unknown ones, also across bytes; so the reference does it.
        if (unknown) symbols.push(unknown);
        unknown = undefined;
        symbols.push({ id, start, end });
      } else if (this.#unknown !== undefined) {
        if (unknown && fuse_unk) unknown.end = end;
        else {
          if (unknown) symbols.push(unknown);
          unknown = { id: this.#unknown, start, end };
        }
      }
      start = end;
    }
    if (unknown) symbols.push(unknown);
    return symbols;
  }

  /** Tokens such as <0xE2>, if the vocabulary has all of them. */
  #bytesOf(text: string): number[] | undefined {
    const ids: number[] = [];
    for (const byte of this.#encoder.encode(text)) {
      const id = this.#vocabulary.idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
      if (id === undefined) return undefined;
      ids.push(id);
    }
    return ids;
  }

  #merge(tokens: readonly WordToken[]): WordToken[] {
    const last = tokens.length - 1;
    const symbols = tokens.map((token, at): Symbol => ({
      ...token,
      previous: at - 1,
      next: at < last ? at + 1 : -1,
      isGone: false,
    }));
    const mergeAt = (at: number): Merge | undefined => {
      const symbol = symbols[at];
      const right = symbol && !symbol.isGone ? symbols[symbol.next] : undefined;
      return symbol && right && this.#merges.get(symbol.id * PAIR + right.id);
    };
    const queue = new MinHeap();
    const offer = (at: number): void => {
      const merge = mergeAt(at);
      if (merge) queue.push(merge.rank * POSITION + at);
    };
    for (let at = 0; at < last; at++) offer(at);
    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const at = entry % POSITION;
      const merge = mergeAt(at);
      // Its neighbours may have changed since it was queued.
      if (merge?.rank !== Math.floor(entry / POSITION)) continue;
      const symbol = symbols[at]!;
      const right = symbols[symbol.next]!;
      symbol.id = merge.id;
      symbol.end = right.end;
      symbol.next = right.next;
      right.isGone = true;
      if (right.next >= 0) symbols[right.next]!.previous = at;
      offer(symbol.previous);
      offer(at);
    }
    return symbols.filter(({ isGone }) => !isGone).map(({ id, start, end }) => ({ id, start, end }));
  }
}

function isPair(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every((token) => typeof token === 'string');
}
