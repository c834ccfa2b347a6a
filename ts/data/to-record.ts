import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { TextRecord } from './record.js';

/** Accepted spellings of each field; the first one present counts. */
export const COLUMNS = {
  text: ['text', 'sentence', 'sentence1'],
  textPair: ['textPair', 'text_pair', 'sentence2'],
  inputIds: ['inputIds', 'input_ids'],
  label: ['label'],
} as const;

/**
 * Checks the raw fields of one example. Fields of other names are ignored.
 *
 * @param fields values by column name, from JSON or (all strings) from a table
 * @param place `file:line`, for messages
 * @param line the line, for the record
 * @throws DeftuneError `file:line: field …`
 */
export function toRecord(fields: ReadonlyMap<string, unknown>, place: string, line: number): TextRecord {
  const record: TextRecord = { line };
  const text = find(fields, COLUMNS.text);
  if (text) record.text = toText(text, place);
  const textPair = find(fields, COLUMNS.textPair);
  if (textPair) record.textPair = toText(textPair, place);
  const inputIds = find(fields, COLUMNS.inputIds);
  if (inputIds) record.inputIds = toIds(inputIds, place);
  const label = find(fields, COLUMNS.label);
  if (label) record.label = toLabel(label, place);
  if (!text && !inputIds) {
    const found = [...fields.keys()].map(showValue).join(', ') || 'none';
    throw new DeftuneError(`${place}: fields are ${found}, expected text (or sentence) or inputIds among them`);
  }
  return record;
}

type Field = { name: string; value: unknown };

/** A null counts as absent: it is how JSON writers spell a missing value. */
function find(fields: ReadonlyMap<string, unknown>, names: readonly string[]): Field | undefined {
  for (const name of names) {
    const value = fields.get(name);
    if (value !== undefined && value !== null) return { name, value };
  }
  return undefined;
}

function toText({ name, value }: Field, place: string): string {
  if (typeof value !== 'string') throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a text`);
  return value;
}

function toIds({ name, value }: Field, place: string): number[] {
  const parts: unknown =
    typeof value === 'string'
      ? value
          .split(/\s+/)
          .filter((part) => part !== '')
          .map((part) => (/^\d+$/.test(part) ? Number(part) : part))
      : value;
  if (!Array.isArray(parts))
    throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a list of token ids`);
  if (parts.length === 0) throw new DeftuneError(`${place}: ${name} is empty, expected at least 1 token id`);
  parts.forEach((id: unknown, i) => {
    // The largest id that fits the Int32Array of a batch.
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > 0x7fffffff) {
      throw new DeftuneError(`${place}: ${name}[${i}] is ${showValue(id)}, expected a whole number of at least 0`);
    }
  });
  return parts as number[];
}

function toLabel({ name, value }: Field, place: string): number | string {
  const fine = typeof value === 'number' ? Number.isFinite(value) : typeof value === 'string' && value !== '';
  if (!fine)
    throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a number or the name of a class`);
  return value as number | string;
}
