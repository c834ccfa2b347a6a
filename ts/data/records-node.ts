import { CsvError, parse } from 'csv-parse/sync';
import { DeftuneError } from '../error.js';
import { readText } from '../io/files-node.js';
import { parseJson } from '../io/parse-json.js';
import { showValue } from '../io/show-value.js';
import type { TextRecord } from './record.js';
import { COLUMNS, toRecord } from './to-record.js';

type Row = { line: number; cells: string[] };

/**
 * Reads a data file: `.jsonl` (one object a line), `.csv` (RFC 4180) or `.tsv` (as in GLUE: no quoting),
 * the latter two with a header. Columns: `text` (or `sentence`, `sentence1`), `textPair` (or `sentence2`),
 * `inputIds` (a list, or numbers separated by spaces), `label`; others are ignored. In tables a label
 * that looks like a number is one, and an empty label is none.
 *
 * @throws DeftuneError `file:line: field, value, what was expected`, also when there are no records
 */
export function readRecords(path: string): TextRecord[] {
  const extension = /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase();
  if (extension !== 'jsonl' && extension !== 'csv' && extension !== 'tsv') {
    throw new DeftuneError(
      `${path}: the file's ending is ${showValue(extension ?? '')}, expected .jsonl, .csv or .tsv`,
    );
  }
  const text = readText(path);
  const records =
    extension === 'jsonl'
      ? fromJsonLines(text, path)
      : fromTable(extension === 'csv' ? csvRows(text, path) : tsvRows(text), path);
  if (records.length === 0) throw new DeftuneError(`${path}: no records, expected at least 1`);
  return records;
}

function fromJsonLines(text: string, path: string): TextRecord[] {
  const records: TextRecord[] = [];
  text.split('\n').forEach((source, i) => {
    if (source.trim() === '') return;
    const value = parseJson(source.replace(/\r$/, ''), path, i + 1);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DeftuneError(
        `${path}:${i + 1}: the line is ${showValue(value)}, expected an object with text and label`,
      );
    }
    records.push(toRecord(new Map(Object.entries(value)), `${path}:${i + 1}`, i + 1));
  });
  return records;
}

function fromTable(rows: Row[], path: string): TextRecord[] {
  const header = rows[0];
  if (header === undefined) return [];
  const names = header.cells.map((name) => name.trim());
  const place = `${path}:${header.line}`;
  const repeated = names.find((name, i) => name !== '' && names.indexOf(name) !== i);
  if (repeated !== undefined)
    throw new DeftuneError(`${place}: column ${showValue(repeated)} appears twice, expected unique columns`);
  const wanted: readonly string[] = [...COLUMNS.text, ...COLUMNS.inputIds];
  if (!names.some((name) => wanted.includes(name))) {
    throw new DeftuneError(
      `${place}: columns are ${names.map(showValue).join(', ')}, expected a header with one of ${wanted.join(', ')}`,
    );
  }
  return rows.slice(1).map(({ line, cells }) => {
    if (cells.length !== names.length) {
      throw new DeftuneError(`${path}:${line}: ${cells.length} columns, expected ${names.length} as in the header`);
    }
    const fields = new Map<string, unknown>(names.map((name, i) => [name, cells[i]]));
    const label = fields.get('label');
    if (typeof label === 'string') fields.set('label', tableLabel(label));
    return toRecord(fields, `${path}:${line}`, line);
  });
}

function tableLabel(cell: string): number | string | undefined {
  const text = cell.trim();
  if (text === '') return undefined;
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : text;
}

function tsvRows(text: string): Row[] {
  const rows = text.split('\n').map((source, i) => ({ line: i + 1, cells: source.replace(/\r$/, '').split('\t') }));
  const columns = rows[0]?.cells.length ?? 0;
  const isBlank = ({ cells }: Row): boolean => cells.length === 1 && cells[0] === '';
  if (rows.at(-1) && isBlank(rows.at(-1)!)) rows.pop();
  // In a table of one column a blank line is a record with an empty text.
  return rows.filter((row, i) => !isBlank(row) || (i > 0 && columns === 1));
}

function csvRows(text: string, path: string): Row[] {
  try {
    const parsed = parse(text, {
      info: true,
      raw: true,
      relax_column_count: true,
      skip_empty_lines: true,
    }) as unknown as {
      info: { lines: number };
      raw: string;
      record: string[];
    }[];
    return parsed.map(({ info, raw, record }) => {
      // info.lines counts to the record's end; a quoted cell may span lines.
      const breaks = raw.trim().split(/\r\n|\n|\r/).length - 1;
      return { line: info.lines - breaks, cells: record };
    });
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    const line = (cause as unknown as { lines?: number }).lines;
    throw new DeftuneError(`${path}${line === undefined ? '' : `:${line}`}: invalid CSV: ${cause.message}`, { cause });
  }
}
