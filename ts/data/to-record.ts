import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { COLUMNS, type Columns, type FieldName } from './columns.js';
import type { Answer, DataRecord } from './record.js';
import { toAnswers } from './to-answers.js';

/** Where the fields of a record come from. */
export interface FieldSource {
  /** `file:line`, for messages. */
  place: string;
  /** The line, for the record. */
  line: number;
  /** Whether every value is the text of a table's cell. */
  table?: boolean | undefined;
  /** Default COLUMNS. */
  columns?: Columns | undefined;
  /** Fields that a record must have, unless it has inputIds. */
  required?: readonly FieldName[] | undefined;
  /** Makes the path of an image, given relative to the record file, one to open; default: leaves it. */
  resolvePath?: ((path: string) => string) | undefined;
}

/** The fields that are the input of an example. */
const INPUTS = ['text', 'inputIds', 'image', 'words'] as const;

/**
 * Checks the raw fields of one example. Fields of other names are ignored, and a null counts as absent.
 *
 * @param fields values by column name, from JSON, Parquet or (all strings) from a table
 * @throws DeftuneError `file:line: field …`
 */
export function toRecord(fields: ReadonlyMap<string, unknown>, source: FieldSource): DataRecord {
  const { place, table = false, columns = COLUMNS, required = [] } = source;
  const record: DataRecord = { line: source.line };
  const read = <F extends keyof DataRecord & FieldName>(field: F, parse: (found: Field) => DataRecord[F]): void => {
    const found = find(fields, columns[field]);
    const value = found && parse(found);
    if (value !== undefined) record[field] = value;
  };
  const cell = (found: Field): Field => ({ ...found, value: table ? emptyAsAbsent(found.value) : found.value });
  read('text', (found) => toText(found, place));
  read('textPair', (found) => toText(found, place));
  read('inputIds', (found) => toIds(found, place));
  read('image', (found) => toImage(cell(found), place, source.resolvePath));
  read('words', (found) => toWords(found, place));
  read('question', (found) => toText(found, place));
  read('context', (found) => toText(found, place));
  read('label', (found) => toLabel(table ? { ...found, value: tableLabel(found.value) } : found, place));
  read('labels', (found) => toLabels(found, place));
  read('labelIds', (found) => toLabelIds(found, place));
  read('target', (found) => toText(found, place));
  read('answers', (found) => readAnswers(fields, columns, cell(found), record.context, place));
  read('id', (found) => toName(cell(found), place));
  read('idx', (found) => toNumber(cell(found), place));
  checkInputs(fields, record, place, columns, required);
  checkLengths(record, place);
  return record;
}

/** Names of the columns that can hold an example's input, for messages. */
export function inputColumns(columns: Columns): string[] {
  return [...INPUTS.flatMap((field) => columns[field]), ...columns.question];
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

function checkInputs(
  fields: ReadonlyMap<string, unknown>,
  record: DataRecord,
  place: string,
  columns: Columns,
  required: readonly FieldName[],
): void {
  const found = (): string => [...fields.keys()].map(showValue).join(', ') || 'none';
  const hasQuestion = record.question !== undefined && record.context !== undefined;
  if (!hasQuestion && INPUTS.every((field) => record[field] === undefined)) {
    const text = columns.text.slice(0, 2).join(' or ');
    throw new DeftuneError(
      `${place}: fields are ${found()}, expected ${columns === COLUMNS ? 'text (or sentence)' : text}, inputIds, image, words, or question and context among them`,
    );
  }
  if (record.inputIds) return;
  const missing = required.find((field) => field !== 'answerStart' && record[field] === undefined);
  if (missing) {
    throw new DeftuneError(`${place}: fields are ${found()}, expected ${columns[missing].join(' or ')} among them`);
  }
}

function checkLengths(record: DataRecord, place: string): void {
  const { labels, words, inputIds } = record;
  const [count, what] = words ? [words.length, 'word'] : [inputIds?.length, 'token id'];
  if (labels && count !== undefined && labels.length !== count) {
    throw new DeftuneError(`${place}: labels has ${labels.length} elements, expected ${count}, one a ${what}`);
  }
}

function emptyAsAbsent(value: unknown): unknown {
  return typeof value === 'string' && value.trim() === '' ? undefined : value;
}

function toText({ name, value }: Field, place: string): string {
  if (typeof value !== 'string') throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a text`);
  return value;
}

function toIds(field: Field, place: string): number[] {
  return toList(field, place, 'token id').map((id, i) => {
    const number = typeof id === 'string' && /^\d+$/.test(id) ? Number(id) : id;
    // The largest id that fits the Int32Array of a batch.
    if (!Number.isInteger(number) || (number as number) < 0 || (number as number) > 0x7fffffff) {
      throw new DeftuneError(
        `${place}: ${field.name}[${i}] is ${showValue(id)}, expected a whole number of at least 0`,
      );
    }
    return number as number;
  });
}

function toLabelIds(field: Field, place: string): number[] {
  return toList(field, place, 'token id').map((id, i) => {
    const number = typeof id === 'string' && /^(\d+|-100)$/.test(id) ? Number(id) : id;
    if (!Number.isInteger(number) || ((number as number) < 0 && number !== -100) || (number as number) > 0x7fffffff) {
      throw new DeftuneError(
        `${place}: ${field.name}[${i}] is ${showValue(id)}, expected a whole number of at least 0, or -100 for no label`,
      );
    }
    return number as number;
  });
}

function toWords(field: Field, place: string): string[] {
  return toList(field, place, 'word').map((word, i) => {
    if (typeof word !== 'string') {
      throw new DeftuneError(`${place}: ${field.name}[${i}] is ${showValue(word)}, expected a text`);
    }
    return word;
  });
}

function toLabels(field: Field, place: string): (number | string)[] {
  return toList(field, place, 'label').map((raw, i, all) => {
    const label = typeof field.value === 'string' ? tableLabel(raw) : raw;
    const first = typeof field.value === 'string' ? tableLabel(all[0]) : all[0];
    const fine = typeof label === 'string' ? label !== '' : Number.isInteger(label) && typeof label === 'number';
    if (!fine) {
      throw new DeftuneError(
        `${place}: ${field.name}[${i}] is ${showValue(raw)}, expected a class index or the name of a class`,
      );
    }
    if (typeof label !== typeof first) {
      throw new DeftuneError(
        `${place}: ${field.name}[${i}] is ${showValue(label)}, expected a ${typeof first === 'number' ? 'number' : 'name'} as in ${field.name}[0]`,
      );
    }
    return label as number | string;
  });
}

/** A list, or the parts between white space of a text. */
function toList({ name, value }: Field, place: string, what: string): unknown[] {
  const parts: unknown = typeof value === 'string' ? value.split(/\s+/).filter((part) => part !== '') : value;
  if (!Array.isArray(parts))
    throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a list of ${what}s`);
  if (parts.length === 0) throw new DeftuneError(`${place}: ${name} is empty, expected at least 1 ${what}`);
  return parts;
}

function toLabel({ name, value }: Field, place: string): number | string | undefined {
  if (value === undefined) return undefined;
  const fine = typeof value === 'number' ? Number.isFinite(value) : typeof value === 'string' && value !== '';
  if (!fine)
    throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a number or the name of a class`);
  return value as number | string;
}

/** A label as a table spells it: one that looks like a number is one, an empty one is none. */
function tableLabel(cell: unknown): unknown {
  if (typeof cell !== 'string') return cell;
  const text = cell.trim();
  if (text === '') return undefined;
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : text;
}

/** A path, or bytes as Hugging Face's data sets hold them: `{bytes, path}`. */
function toImage(
  { name, value }: Field,
  place: string,
  resolvePath: ((path: string) => string) | undefined,
): string | Uint8Array | undefined {
  if (value === undefined) return undefined;
  const bytes = value instanceof Uint8Array ? value : (value as { bytes?: unknown }).bytes;
  if (bytes instanceof Uint8Array) return bytes;
  const path = typeof value === 'object' ? (value as { path?: unknown }).path : value;
  if (typeof path !== 'string' || path === '') {
    throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected the path of an image file`);
  }
  return resolvePath ? resolvePath(path) : path;
}

function readAnswers(
  fields: ReadonlyMap<string, unknown>,
  columns: Columns,
  field: Field,
  context: string | undefined,
  place: string,
): Answer[] | undefined {
  if (field.value === undefined) return undefined;
  const start = find(fields, columns.answerStart);
  return toAnswers(field.name, field.value, start?.value, context, place);
}

function toName({ name, value }: Field, place: string): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a name or a number`);
}

function toNumber({ name, value }: Field, place: string): number | undefined {
  if (value === undefined) return undefined;
  const number = typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value;
  if (!Number.isSafeInteger(number) || (number as number) < 0) {
    throw new DeftuneError(`${place}: ${name} is ${showValue(value)}, expected a whole number of at least 0`);
  }
  return number as number;
}
