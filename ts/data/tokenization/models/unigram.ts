import { z } from 'zod';
import { DeftuneError } from '../../../error.js';
import { showValue } from '../../../io/show-value.js';
import { readFields, type ComponentJson } from '../component.js';
import type { TokenModel, WordToken } from './token-model.js';
import { WordMemory } from './word-memory.js';

const schema = z.object({
  vocab: z.array(z.unknown()).min(1),
  unk_id: z.number().nullish(),
  byte_fallback: z.boolean().default(false),
});

/** An unknown character costs this much more than the least likely token (SentencePiece's kUnkPenalty). */
const UNKNOWN_PENALTY = 10;

/**
 * SentencePiece's unigram model: the segmentation with the greatest sum of scores, found by Viterbi's algorithm (Kudo, 2018). Sums and
 * ties as in SentencePiece's EncodeOptimized: positions from left to right, a later candidate must be better to win.
 */
export class Unigram implements TokenModel {
  readonly #vocab: readonly (readonly [string, number])[];
  readonly #ids = new Map<string, number>();
  readonly #unknown: number | undefined;
  readonly #unknownScore: number;
  readonly #byteFallback: boolean;
  readonly #longest: number;
  readonly #memory = new WordMemory();

  constructor(json: ComponentJson, where: string) {
    const { vocab, unk_id, byte_fallback } = readFields(schema, json, where);
    let least = Infinity;
    let longest = 0;
    this.#vocab = vocab.map((entry, id) => {
      if (isScored(entry)) return entry;
      throw new DeftuneError(`${where}: vocab.${id} is ${showValue(entry)}, expected a token and its score`);
    });
    this.#vocab.forEach(([token, score], id) => {
      this.#ids.set(token, id);
      least = Math.min(least, score);
      longest = Math.max(longest, token.length);
    });
    if (unk_id != null && !(Number.isInteger(unk_id) && unk_id >= 0 && unk_id < vocab.length)) {
      throw new DeftuneError(
        `${where}: unk_id is ${showValue(unk_id)}, expected a whole number from 0 to ${vocab.length - 1}`,
      );
    }
    this.#unknown = unk_id ?? undefined;
    this.#unknownScore = least - UNKNOWN_PENALTY;
    this.#byteFallback = byte_fallback;
    this.#longest = longest;
  }

  get vocabSize(): number {
    return this.#vocab.length;
  }

  tokenToId(token: string): number | undefined {
    return this.#ids.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.#vocab[id]?.[0];
  }

  tokenize(word: string): readonly WordToken[] {
    return this.#memory.get(word, (text) =>
      this.#pieces(text).flatMap(([start, end]) => this.#tokensOf(text, start, end)),
    );
  }

  #tokensOf(text: string, start: number, end: number): WordToken[] {
    const piece = text.slice(start, end);
    const id = this.#ids.get(piece);
    if (id !== undefined) return [{ id, start, end }];
    if (this.#byteFallback) {
      const names = Array.from(
        new TextEncoder().encode(piece),
        (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
      );
      const ids = names.map((name) => this.#ids.get(name));
      if (!ids.includes(undefined)) return (ids as number[]).map((byteId) => ({ id: byteId, start, end }));
    }
    return [{ id: this.#needUnknown(), start, end }];
  }

  /** The best segmentation; neighbouring unknown characters are one piece. */
  #pieces(text: string): [number, number][] {
    const scores = new Float64Array(text.length + 1);
    const from = new Int32Array(text.length + 1).fill(-1);
    const ids = new Int32Array(text.length + 1);
    for (let start = 0; start < text.length;) {
      const width = text.codePointAt(start)! > 0xffff ? 2 : 1;
      const offer = (end: number, id: number, score: number): void => {
        const sum = score + scores[start]!;
        if (from[end]! >= 0 && sum <= scores[end]!) return;
        scores[end] = sum;
        from[end] = start;
        ids[end] = id;
      };
      const limit = Math.min(text.length, start + this.#longest);
      let isKnown = false;
      for (let end = start + 1; end <= limit; end++) {
        const id = this.#ids.get(text.slice(start, end));
        if (id === undefined) continue;
        offer(end, id, this.#vocab[id]![1]);
        isKnown ||= end === start + width;
      }
      if (!isKnown) offer(start + width, this.#needUnknown(), this.#unknownScore);
      start += width;
    }
    const pieces: [number, number][] = [];
    let wasUnknown = false;
    for (let end = text.length; end > 0;) {
      const start = from[end]!;
      const isUnknown = ids[end] === this.#unknown;
      if (isUnknown && wasUnknown) pieces.at(-1)![0] = start;
      else pieces.push([start, end]);
      wasUnknown = isUnknown;
      end = start;
    }
    return pieces.reverse();
  }

  #needUnknown(): number {
    if (this.#unknown !== undefined) return this.#unknown;
    throw new DeftuneError('the text has a character that is not in the vocabulary, and the tokenizer has no unk_id');
  }
}

function isScored(value: unknown): value is [string, number] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' && typeof value[1] === 'number';
}
