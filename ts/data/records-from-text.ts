import { DeftuneError } from '../error.js';
import { jsonLinesRecords } from './json-lines-records.js';
import type { RecordOptions } from './record-options.js';
import type { DataRecord } from './record.js';
import { tableRecords } from './table-records.js';
import { csvRows, tsvRows } from './table-rows.js';

/** Forms of records in a text. */
export type RecordForm = 'jsonl' | 'csv' | 'tsv';

/**
 * Reads records from a text: JSON Lines, or a table whose first line names its columns.
 *
 * @param options.form default: `jsonl` where the text begins with a brace, else `tsv` where its first line has a tab, else `csv`
 * @param options.name of the text, for messages; default `text`
 * @throws DeftuneError `name:line: field, value, what was expected`, also when there are no records
 */
export function recordsFromText(
  text: string,
  { form = formOf(text), name = 'text', ...options }: RecordOptions & { form?: RecordForm; name?: string } = {},
): DataRecord[] {
  const readers: Record<RecordForm, () => DataRecord[]> = {
    jsonl: () => jsonLinesRecords(text, name, options),
    csv: () => tableRecords(csvRows(text, name), name, options),
    tsv: () => tableRecords(tsvRows(text), name, options),
  };
  const records = readers[form]();
  if (records.length === 0) throw new DeftuneError(`${name}: no records, expected at least 1`);
  return records;
}

function formOf(text: string): RecordForm {
  const first = text.trimStart().split('\n', 1)[0] ?? '';
  return first.startsWith('{') ? 'jsonl' : first.includes('\t') ? 'tsv' : 'csv';
}
