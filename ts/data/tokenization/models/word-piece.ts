import { z } from 'zod';
import { DeftuneError } from '../../../error.js';
import { showValue } from '../../../io/show-value.js';
import { readFields, type ComponentJson } from '../component.js';
import type { TokenModel, WordToken } from './token-model.js';
import { Vocabulary, vocabularyField } from './vocabulary.js';
import { WordMemory } from './word-memory.js';

const schema = z.object({
  vocab: vocabularyField,
  unk_token: z.string().default('[UNK]'),
  continuing_subword_prefix: z.string().default('##'),
  max_input_chars_per_word: z.number().default(100),
});

/** BERT's model: the longest piece that the vocabulary has, again and again (github.com/google-research/bert, tokenization.py). */
export class WordPiece implements TokenModel {
  readonly #vocabulary: Vocabulary;
  readonly #fields: z.infer<typeof schema>;
  readonly #unknown: number;
  readonly #longest: number;
  readonly #memory = new WordMemory();

  constructor(json: ComponentJson, where: string) {
    this.#fields = readFields(schema, json, where);
    this.#vocabulary = new Vocabulary(this.#fields.vocab, where);
    this.#longest = this.#vocabulary.longest();
    const unknown = this.#vocabulary.idOf(this.#fields.unk_token);
    if (unknown === undefined) {
      throw new DeftuneError(
        `${where}: unk_token is ${showValue(this.#fields.unk_token)}, expected a token of the vocabulary`,
      );
    }
    this.#unknown = unknown;
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
    return this.#memory.get(word, (text) => this.#cut(text) ?? [{ id: this.#unknown, start: 0, end: text.length }]);
  }

  /** The pieces of a word; undefined if there is a part without one. */
  #cut(word: string): WordToken[] | undefined {
    const { continuing_subword_prefix: prefix, max_input_chars_per_word: limit } = this.#fields;
    if (word.length > limit && [...word].length > limit) return undefined;
    const tokens: WordToken[] = [];
    for (let start = 0; start < word.length;) {
      let end = Math.min(word.length, start + this.#longest);
      let id: number | undefined;
      for (; end > start; end--) {
        const piece = word.slice(start, end);
        id = this.#vocabulary.idOf(start > 0 ? prefix + piece : piece);
        if (id !== undefined) break;
      }
      if (id === undefined) return undefined;
      tokens.push({ id, start, end });
      start = end;
    }
    return tokens;
  }
}
