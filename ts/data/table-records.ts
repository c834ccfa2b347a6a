import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { COLUMNS, type Columns } from './columns.js';
import type { DataRecord } from './record.js';
import type { RecordOptions } from './record-options.js';
import type { TableRow } from './table-rows.js';
import { inputColumns, toRecord } from './to-record.js';

/** The records of a table's rows. @throws DeftuneError `path:line: …` */
export function tableRecords(rows: readonly TableRow[], path: string, options: RecordOptions = {}): DataRecord[] {
  const { columns = COLUMNS, required } = options;
  const first = rows[0];
  if (first === undefined) return [];
  const own = first.cells.map((name) => name.trim());
  const headless = options.header !== undefined && !options.header.some((name) => own.includes(name));
  const names = headless ? (options.header ?? []) : own;
  checkHeader(names, `${path}:${first.line}`, columns);
  const records: DataRecord[] = [];
  let skipped = 0;
  for (const { line, cells } of headless ? rows : rows.slice(1)) {
    if (cells.length !== names.length) {
      if (options.skipIncompleteRows) {
        skipped += 1;
        continue;
      }
      const expected = headless ? `expected ${names.length}` : `expected ${names.length} as in the header`;
      throw new DeftuneError(`${path}:${line}: ${cells.length} columns, ${expected}`);
    }
    const fields = new Map<string, unknown>(names.map((name, i) => [name, cells[i]]));
    const { resolvePath } = options;
    records.push(toRecord(fields, { place: `${path}:${line}`, line, table: true, columns, required, resolvePath }));
  }
  if (skipped > 0) {
    options.onNotice?.(`${path}: ${skipped} rows with too few or too many columns were left out`);
  }
  return records;
}

function checkHeader(names: readonly string[], place: string, columns: Columns): void {
  const repeated = names.find((name, i) => name !== '' && names.indexOf(name) !== i);
  if (repeated !== undefined)
    throw new DeftuneError(`${place}: column ${showValue(repeated)} appears twice, expected unique columns`);
  const wanted = inputColumns(columns);
  if (!names.some((name) => wanted.includes(name))) {
    throw new DeftuneError(
      `${place}: columns are ${names.map(showValue).join(', ')}, expected a header with one of ${wanted.join(', ')}`,
    );
  }
}
