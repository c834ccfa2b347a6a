import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { Example } from './batching.js';
import type { DataRecord } from './record.js';
import type { Tokenizer } from './tokenizer.js';

/** What turning records into examples needs to know of the model. */
export interface PrepareOptions {
  /** Needed where a record has text. */
  tokenizer?: Tokenizer | undefined;
  /** Longest sequence, special tokens included; longer ones are cut. */
  maxLength: number;
  vocabSize: number;
  /** File of the records, for messages. */
  fileName: string;
  /** Class indexes or targets, one a record. */
  labels?: readonly number[] | undefined;
}

/** Examples of a data set, and how many had to be cut. */
export interface PreparedExamples {
  examples: Example[];
  truncated: number;
}

/**
 * Tokenizes records (`inputIds` are taken as they are).
 *
 * @throws DeftuneError naming file and line: text without a tokenizer, an empty text, a token id outside the vocabulary.
 */
export function prepareExamples(records: readonly DataRecord[], options: PrepareOptions): PreparedExamples {
  const { tokenizer, maxLength, vocabSize, fileName, labels } = options;
  let truncated = 0;
  const examples = records.map((record, index): Example => {
    const where = `${fileName}:${record.line}`;
    let inputIds: number[];
    let tokenTypeIds: number[] | undefined;
    if (record.inputIds) {
      inputIds = record.inputIds.slice(0, maxLength);
      if (inputIds.length < record.inputIds.length) truncated += 1;
    } else {
      if (!tokenizer) throw new DeftuneError(`${where}: text needs a tokenizer, but the model has no tokenizer.json`);
      if (!record.text?.trim()) {
        throw new DeftuneError(`${where}: text is ${showValue(record.text)}, expected one that is not empty`);
      }
      const encoded = tokenizer.encode(record.text, { textPair: record.textPair, maxLength });
      ({ inputIds, tokenTypeIds } = encoded);
      if (encoded.truncated) truncated += 1;
    }
    const bad = inputIds.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (bad !== undefined) {
      throw new DeftuneError(`${where}: inputIds has the token id ${bad}, expected 0 to ${vocabSize - 1}`);
    }
    const label = labels?.[index];
    return { inputIds, ...(tokenTypeIds ? { tokenTypeIds } : {}), ...(label === undefined ? {} : { label }) };
  });
  return { examples, truncated };
}
