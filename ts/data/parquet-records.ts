import { parquetMetadata, parquetScan, parquetSchema, type FileMetaData, type ParquetScan } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { checkParquetPages } from './check-parquet-pages.js';
import { COLUMNS } from './columns.js';
import type { RecordOptions } from './record-options.js';
import type { DataRecord } from './record.js';
import { inputColumns, toRecord } from './to-record.js';

/**
 * The records of a Parquet file, as Hugging Face's data sets are stored. Their number in the file, from 1, stands for the line.
 * Pages may be uncompressed or compressed with snappy, gzip, zstd, brotli or lz4. Columns of other names are not read.
 *
 * @param bytes the whole file
 * @param path its name, for messages
 * @throws DeftuneError `path: …` when the file is cut off or is no Parquet, `path:number: …` when records cannot be decoded or a field is wrong
 */
export async function parquetRecords(
  bytes: Uint8Array,
  path: string,
  options: RecordOptions = {},
): Promise<DataRecord[]> {
  const { columns = COLUMNS, required, resolvePath } = options;
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const metadata = readMetadata(buffer, path);
  const wanted = new Set(Object.values(columns).flat());
  const names = parquetSchema(metadata).children.map(({ element }) => element.name);
  const used = names.filter((name) => wanted.has(name));
  const inputs = inputColumns(columns);
  if (!used.some((name) => inputs.includes(name))) {
    throw new DeftuneError(
      `${path}: columns are ${names.map(showValue).join(', ')}, expected one of ${inputs.join(', ')} among them`,
    );
  }
  const records: DataRecord[] = [];
  const scan = await parquetScan({ file: buffer, metadata, columns: used, utf8: false, compressors });
  const groups = startsOf(metadata);
  for (const { rowStart, rowEnd } of scan.ranges) {
    const values: unknown[][] = [];
    for (const name of used) {
      const check = (): void => {
        checkParquetPages(buffer, metadata, compressors, name, groups.indexOf(rowStart));
      };
      values.push(await readColumn(scan, name, rowStart, rowEnd, path, check));
    }
    for (let row = 0; row < rowEnd - rowStart; row++) {
      const line = rowStart + row + 1;
      const place = `${path}:${line}`;
      const fields = new Map(used.map((name, i) => [name, plain(values[i]?.[row], place, name)]));
      records.push(toRecord(fields, { place, line, columns, required, resolvePath }));
    }
  }
  return records;
}

function readMetadata(buffer: ArrayBuffer, path: string): FileMetaData {
  try {
    const metadata = parquetMetadata(buffer);
    // Of a damaged footer these may be missing or of another type, whatever the declared type says.
    if (!Array.isArray(metadata.row_groups)) throw new Error('the footer lists no row groups');
    parquetSchema(metadata);
    return metadata;
  } catch (cause) {
    throw new DeftuneError(`${path}: expected a whole Parquet file, but ${why(cause)}; it may be cut off or damaged`, {
      cause,
    });
  }
}

/** Number of the first row of each group. */
function startsOf(metadata: FileMetaData): number[] {
  let next = 0;
  return metadata.row_groups.map(({ num_rows }) => {
    const start = next;
    next += Number(num_rows);
    return start;
  });
}

async function readColumn(
  scan: ParquetScan,
  column: string,
  rowStart: number,
  rowEnd: number,
  path: string,
  check: () => void,
): Promise<unknown[]> {
  const rows = rowEnd - rowStart;
  try {
    check();
    const data = await scan.readColumn({ column, rowStart, rowEnd });
    if (data.length !== rows) throw new Error(`${data.length} values were found`);
    return data as unknown[];
  } catch (cause) {
    throw new DeftuneError(
      `${path}:${rowStart + 1}: column ${showValue(column)} of records ${rowStart + 1} to ${rowEnd} cannot be decoded, expected ${rows} values, but ${why(cause)}; the file may be damaged`,
      { cause },
    );
  }
}

function why(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message === '' ? 'reading failed' : message;
}

/** Whole numbers of 64 bits as numbers, typed arrays as lists, all else as it is. */
function plain(value: unknown, place: string, name: string): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) {
      throw new DeftuneError(`${place}: ${name} is ${value}, expected a number of at most 53 bits`);
    }
    return number;
  }
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value))
    return Array.from(value as unknown as ArrayLike<unknown>, (v) => plain(v, place, name));
  if (Array.isArray(value)) return value.map((item: unknown) => plain(item, place, name));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, place, name)]));
}
