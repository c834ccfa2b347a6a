import { z } from 'zod';
import { DeftuneError } from '../../../error.js';
import { showValue } from '../../../io/show-value.js';

/** The field `vocab` of a model whose tokens are numbered by it; Vocabulary checks the numbers. */
export const vocabularyField = z.custom<Readonly<Record<string, number>>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected an object of ids by token',
);

/** Tokens and their ids, both ways. */
export class Vocabulary {
  readonly #ids: Map<string, number>;
  readonly #tokens: string[] = [];

  /** @throws DeftuneError for an id that is no whole number from 0 */
  constructor(vocab: Readonly<Record<string, number>>, where: string) {
    this.#ids = new Map(Object.entries(vocab));
    for (const [token, id] of this.#ids) {
      if (!Number.isInteger(id) || id < 0 || id > 1e7) {
        throw new DeftuneError(
          `${where}: vocab ${showValue(token)} is ${showValue(id)}, expected a whole number from 0 to 10000000`,
        );
      }
      this.#tokens[id] = token;
    }
  }

  get size(): number {
    return this.#ids.size;
  }

  idOf(token: string): number | undefined {
    return this.#ids.get(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }

  /** Length of the longest token, in UTF-16 units. */
  longest(): number {
    let longest = 0;
    for (const token of this.#ids.keys()) longest = Math.max(longest, token.length);
    return longest;
  }
}
