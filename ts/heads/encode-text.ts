import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { Example } from '../data/batching.js';
import type { DataRecord } from '../data/record.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { ExampleContext, HeadInfo } from './head.js';

/**
 * Tokens that a text is cut to: the model's positions, or where these are relative what the tokenizer was made for; undefined where
 * neither says.
 */
export function textLimit({ maxLength }: HeadInfo, tokenizer: Tokenizer | undefined): number | undefined {
  return Number.isFinite(maxLength) ? maxLength : tokenizer?.modelMaxLength;
}

/**
 * Token ids of a record: its `inputIds` as they are, else its text (and textPair) with special tokens; cut to the position limit.
 *
 * @throws DeftuneError naming file and line: text without a tokenizer, a token id outside the vocabulary.
 */
export function encodeText(
  record: DataRecord,
  { tokenizer, info, where, onTruncated }: ExampleContext,
): Pick<Example, 'inputIds' | 'tokenTypeIds'> {
  const { maxLength } = info;
  let inputIds: number[];
  let tokenTypeIds: number[] | undefined;
  if (record.inputIds) {
    inputIds = record.inputIds.slice(0, maxLength);
    if (inputIds.length < record.inputIds.length) onTruncated();
  } else {
    if (!tokenizer) throw new DeftuneError(`${where}: text needs a tokenizer, but the model's directory has none`);
    if (!record.text?.trim()) {
      throw new DeftuneError(`${where}: text is ${showValue(record.text)}, expected one that is not empty`);
    }
    const encoded = tokenizer.encode(record.text, { textPair: record.textPair, maxLength: textLimit(info, tokenizer) });
    ({ inputIds, tokenTypeIds } = encoded);
    if (encoded.truncated) onTruncated();
  }
  checkIds(inputIds, 'inputIds', info.vocabSize, where);
  return { inputIds, ...(tokenTypeIds ? { tokenTypeIds } : {}) };
}

/**
 * @param options.ignored an id that means "no label"
 * @param options.what the ids stand for; default tokens
 * @throws DeftuneError where an id is outside the vocabulary, or the classes
 */
export function checkIds(
  ids: readonly number[],
  field: string,
  count: number,
  where: string,
  { ignored, what = 'token id' }: { ignored?: number; what?: string } = {},
): void {
  const bad = ids.find((id) => id !== ignored && (!Number.isInteger(id) || id < 0 || id >= count));
  if (bad !== undefined)
    throw new DeftuneError(`${where}: ${field} has the ${what} ${bad}, expected 0 to ${count - 1}`);
}
