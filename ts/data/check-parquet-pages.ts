import type { ColumnMetaData, Compressors, FileMetaData, PageHeader } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { decompressPage } from 'hyparquet/src/datapage.js';
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getSchemaPath } from 'hyparquet/src/schema.js';
import { readVarInt } from 'hyparquet/src/thrift.js';

// hyparquet believes the counts in a page: one damaged byte can make it repeat a value two thousand million times. This pass over
// the pages of a column compares every count with what is left of the column before anything is decoded.

interface Reader {
  view: DataView;
  offset: number;
}

/** Bit-packed runs are padded to whole groups of 8 values; some writers pad by several groups. */
const PADDING = 512;

/**
 * Checks the counts in the pages of a column in one group of rows, all its leaves.
 *
 * @param group index of the group of rows
 * @throws Error saying what does not fit
 */
export function checkParquetPages(
  file: ArrayBuffer,
  metadata: FileMetaData,
  compressors: Compressors,
  column: string,
  group: number,
): void {
  const rowGroup = metadata.row_groups[group];
  for (const { meta_data: leaf } of rowGroup?.columns ?? []) {
    if (!leaf || leaf.path_in_schema[0] !== column) continue;
    const path = getSchemaPath(metadata.schema, leaf.path_in_schema);
    const levels = { repetition: getMaxRepetitionLevel(path), definition: getMaxDefinitionLevel(path) };
    if (levels.repetition === 0 && leaf.num_values !== rowGroup?.num_rows) {
      throw new Error(`the column says it has ${leaf.num_values}`);
    }
    checkLeaf(file, leaf, levels, compressors);
  }
}

type Levels = Readonly<{ repetition: number; definition: number }>;

function checkLeaf(file: ArrayBuffer, leaf: ColumnMetaData, levels: Levels, compressors: Compressors): void {
  const start = Number(leaf.dictionary_page_offset || leaf.data_page_offset);
  const size = Number(leaf.total_compressed_size);
  if (!(start >= 0 && size >= 0 && start + size <= file.byteLength)) {
    throw new Error(`its bytes are said to be ${start} to ${start + size} of a file of ${file.byteLength}`);
  }
  const reader = { view: new DataView(file, start, size), offset: 0 };
  let left = Number(leaf.num_values);
  while (left > 0 && reader.offset < size - 1) {
    const header = parquetHeader(reader);
    const bytes = header.compressed_page_size;
    if (!(bytes >= 0 && reader.offset + bytes <= size)) throw new Error(`a page is said to have ${bytes} bytes`);
    const page = new Uint8Array(file, start + reader.offset, bytes);
    reader.offset += bytes;
    const { num_values: count = 0 } = header.data_page_header ?? header.data_page_header_v2 ?? {};
    if (!(count >= 0 && count <= left)) throw new Error(`a page is said to have ${count} values, more than the column`);
    left -= count;
    if (header.data_page_header) checkPage(page, header, leaf, levels, compressors);
    else if (header.data_page_header_v2) checkPageV2(page, header, leaf, levels, compressors);
  }
}

function checkPage(
  bytes: Uint8Array,
  header: PageHeader,
  leaf: ColumnMetaData,
  levels: Levels,
  compressors: Compressors,
): void {
  const { num_values: count = 0, encoding } = header.data_page_header ?? {};
  const page = decompressPage(bytes, header.uncompressed_page_size, leaf.codec, compressors);
  const reader = { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset: 0 };
  for (const level of [levels.repetition, levels.definition]) if (level > 0) checkSized(reader, bitWidth(level), count);
  checkValues(reader, encoding, leaf, count);
}

function checkPageV2(
  bytes: Uint8Array,
  header: PageHeader,
  leaf: ColumnMetaData,
  levels: Levels,
  compressors: Compressors,
): void {
  const data = header.data_page_header_v2;
  if (!data) return;
  const { num_values: count, repetition_levels_byte_length: first, definition_levels_byte_length: second } = data;
  if (!(first >= 0 && second >= 0 && first + second <= bytes.length))
    throw new Error('a page is too small for its levels');
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
  if (levels.repetition > 0) checkRuns(reader, bitWidth(levels.repetition), count);
  reader.offset = first;
  if (levels.definition > 0) checkRuns(reader, bitWidth(levels.definition), count);
  const rest = bytes.subarray(first + second);
  const page =
    data.is_compressed === false
      ? rest
      : decompressPage(rest, header.uncompressed_page_size - first - second, leaf.codec, compressors);
  const values = { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset: 0 };
  checkValues(values, data.encoding, leaf, count - data.num_nulls);
}

function checkValues(reader: Reader, encoding: string | undefined, leaf: ColumnMetaData, count: number): void {
  if (reader.offset >= reader.view.byteLength) return;
  if (encoding === 'RLE' && leaf.type === 'BOOLEAN') checkSized(reader, 1, count);
  else if (encoding === 'RLE' || encoding?.endsWith('_DICTIONARY')) {
    const width = reader.view.getUint8(reader.offset++);
    if (width > 0) checkRuns(reader, width, count);
  }
}

/** Runs after their length in bytes; leaves the reader behind them. */
function checkSized(reader: Reader, width: number, count: number): void {
  const length = reader.view.getUint32(reader.offset, true);
  const start = reader.offset + 4;
  if (start + length > reader.view.byteLength) throw new Error(`a page is too small for levels of ${length} bytes`);
  reader.offset = start;
  checkRuns(reader, width, count);
  reader.offset = start + length;
}

/** The hybrid of run-length and bit-packed runs: none may be longer than the values that are left. */
function checkRuns(reader: Reader, width: number, count: number): void {
  if (width > 32) throw new Error(`values are said to have ${width} bits`);
  let left = count;
  while (left > 0 && reader.offset < reader.view.byteLength) {
    const header = readVarInt(reader);
    const packed = (header & 1) === 1;
    const run = packed ? (header >>> 1) * 8 : header >>> 1;
    if (run > left + (packed ? PADDING : 0)) throw new Error(`a run is said to have ${run} values, ${left} are left`);
    reader.offset += packed ? (run / 8) * width : Math.ceil(width / 8);
    left -= run;
  }
}

function bitWidth(level: number): number {
  return 32 - Math.clz32(level);
}
