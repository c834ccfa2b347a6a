import { z } from 'zod';
import { DeftuneError } from '../../../error.js';
import { showValue } from '../../../io/show-value.js';
import { readFields, type ComponentJson } from '../component.js';
import type { TokenModel, WordToken } from './token-model.js';
import { Vocabulary, vocabularyField } from './vocabulary.js';

const schema = z.object({ vocab: vocabularyField, unk_token: z.string().default('<unk>') });

/** A token a word. */
export class WordLevel implements TokenModel {
  readonly #vocabulary: Vocabulary;
  readonly #unknown: string;

  constructor(json: ComponentJson, where: string) {
    const { vocab, unk_token } = readFields(schema, json, where);
    this.#vocabulary = new Vocabulary(vocab, where);
    this.#unknown = unk_token;
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

  tokenize(word: string): WordToken[] {
    const id = this.#vocabulary.idOf(word) ?? this.#vocabulary.idOf(this.#unknown);
    if (id === undefined) {
      throw new DeftuneError(
        `${showValue(word)} is not in the vocabulary, and neither is the unknown token ${showValue(this.#unknown)}`,
      );
    }
    return [{ id, start: 0, end: word.length }];
  }
}
