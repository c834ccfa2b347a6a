// The browser's build runs in Node as well.
import { CsvError, parse } from 'csv-parse/browser/esm/sync';
import { DeftuneError } from '../error.js';

/** One row of a table. */
export interface TableRow {
  /** Line of the file on which the row starts, from 1. */
  line: number;
  cells: string[];
}

/** Rows of a TSV as in GLUE: no quoting. Blank lines are left out, but for those of a table of one column, where they are empty texts. */
export function tsvRows(text: string): TableRow[] {
  const rows = text.split('\n').map((source, i) => ({ line: i + 1, cells: source.replace(/\r$/, '').split('\t') }));
  const columns = rows[0]?.cells.length ?? 0;
  const isBlank = ({ cells }: TableRow): boolean => cells.length === 1 && cells[0] === '';
  if (rows.at(-1) && isBlank(rows.at(-1)!)) rows.pop();
  return rows.filter((row, i) => !isBlank(row) || (i > 0 && columns === 1));
}

/**
 * Rows of a CSV (RFC 4180).
 *
 * @param path of the file, for messages
 * @throws DeftuneError `path:line: invalid CSV …`
 */
export function csvRows(text: string, path: string): TableRow[] {
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
