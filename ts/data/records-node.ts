import { statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { DeftuneError } from '../error.js';
import { fileExists, readBytes, readText } from '../io/files-node.js';
import { showValue } from '../io/show-value.js';
import { cifar10Records } from './cifar10-records.js';
import { imageFolderRecords } from './image-folder-node.js';
import { jsonLinesRecords } from './json-lines-records.js';
import { jsonRecords } from './json-records.js';
import type { DataRecord } from './record.js';
import type { RecordOptions } from './record-options.js';
import { tableRecords } from './table-records.js';
import { csvRows, tsvRows } from './table-rows.js';

type Reader = (path: string, options: RecordOptions) => DataRecord[] | Promise<DataRecord[]>;

/** Readers by the ending of a file's name. */
const READERS: Readonly<Record<string, Reader>> = {
  jsonl: (path, options) => jsonLinesRecords(readText(path), path, options),
  csv: (path, options) => tableRecords(csvRows(readText(path), path), path, options),
  tsv: (path, options) => tableRecords(tsvRows(readText(path)), path, options),
  // The decompressors load when they are needed.
  parquet: async (path, options) =>
    (await import('./parquet-records.js')).parquetRecords(readBytes(path), path, options),
  json: (path, options) => jsonRecords(readText(path), path, options),
  bin: (path) => cifar10Records(readBytes(path), path, classesBeside(path)),
};

/** CIFAR-10's own list of its classes. */
function classesBeside(path: string): string[] | undefined {
  const names = join(dirname(path), 'batches.meta.txt');
  if (!fileExists(names)) return undefined;
  return readText(names)
    .split(/\r?\n/)
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** Endings of files that `readRecords` reads, without their dot. */
export const RECORD_ENDINGS: readonly string[] = Object.keys(READERS);

/**
 * Reads a data file: `.jsonl` (one object a line), `.csv` (RFC 4180) or `.tsv` (as in GLUE: no quoting), both with a header,
 * `.parquet`, `.json` (SQuAD's form, or a list of objects), `.bin` (CIFAR-10), or a folder of images with a folder a class. Columns
 * are those of COLUMNS, or a task's; others are ignored. A file with one bad record is refused as a whole.
 *
 * In tables a label that looks like a number is one, lists are separated by spaces, and an empty cell is no value (but an empty text
 * where text is expected). Paths of images are relative to the file's folder.
 *
 * @throws DeftuneError `file:line: field, value, what was expected`, also when there are no records
 */
export async function readRecords(path: string, options: RecordOptions = {}): Promise<DataRecord[]> {
  const extension = /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  const reader = Object.hasOwn(READERS, extension) ? READERS[extension] : undefined;
  if (reader === undefined) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return nonEmpty(imageFolderRecords(path), path);
    const known = RECORD_ENDINGS.map((ending) => `.${ending}`);
    throw new DeftuneError(
      `${path}: the file's ending is ${showValue(extension)}, expected ${known.join(', ')}, or a folder of images`,
    );
  }
  const resolvePath = (image: string): string => (isAbsolute(image) ? image : join(dirname(path), image));
  return nonEmpty(await reader(path, { resolvePath, ...options }), path);
}

function nonEmpty(records: DataRecord[], path: string): DataRecord[] {
  if (records.length === 0) throw new DeftuneError(`${path}: no records, expected at least 1`);
  return records;
}

/** Records of one data set. */
export interface RecordFile {
  /** The file, or the first of several, for messages. */
  fileName: string;
  records: DataRecord[];
}

/**
 * Reads a data set that may be cut into several files. Records of the second and later ones count on from those before in `line`.
 *
 * @throws DeftuneError as readRecords does
 */
export async function readRecordFiles(paths: readonly string[], options: RecordOptions = {}): Promise<RecordFile> {
  const [first = ''] = paths;
  if (paths.length === 1) return { fileName: first, records: await readRecords(first, options) };
  const records: DataRecord[] = [];
  for (const path of paths) {
    for (const record of await readRecords(path, options)) records.push({ ...record, line: records.length + 1 });
  }
  return { fileName: `${first} and ${paths.length - 1} more, record`, records };
}
