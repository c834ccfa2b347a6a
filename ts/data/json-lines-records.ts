import { DeftuneError } from '../error.js';
import { parseJson } from '../io/parse-json.js';
import { showValue } from '../io/show-value.js';
import type { DataRecord } from './record.js';
import type { RecordOptions } from './record-options.js';
import { toRecord } from './to-record.js';

/** The records of JSON Lines, one object a line; blank lines are left out. @throws DeftuneError `path:line: …` */
export function jsonLinesRecords(text: string, path: string, options: RecordOptions = {}): DataRecord[] {
  const { columns, required, resolvePath } = options;
  const records: DataRecord[] = [];
  text.split('\n').forEach((source, i) => {
    if (source.trim() === '') return;
    const place = `${path}:${i + 1}`;
    const value = parseJson(source.replace(/\r$/, ''), path, i + 1);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DeftuneError(`${place}: the line is ${showValue(value)}, expected an object with text and label`);
    }
    records.push(toRecord(new Map(Object.entries(value)), { place, line: i + 1, columns, required, resolvePath }));
  });
  return records;
}
