import type { WordToken } from './token-model.js';

const CAPACITY = 20_000;
const LONGEST = 256;

/** Remembers the tokens of words: text repeats its words, and cutting one up is most of the work. */
export class WordMemory {
  readonly #known = new Map<string, readonly WordToken[]>();

  get(word: string, tokenize: (word: string) => readonly WordToken[]): readonly WordToken[] {
    let tokens = this.#known.get(word);
    if (!tokens) {
      tokens = tokenize(word);
      if (this.#known.size >= CAPACITY) this.#known.clear();
      if (word.length <= LONGEST) this.#known.set(word, tokens);
    }
    return tokens;
  }
}
