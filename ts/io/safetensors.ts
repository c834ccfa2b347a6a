import { DeftuneError } from '../error.js';
import { DTYPE_SIZES, isDtype, type Dtype } from './dtype.js';
import { parseJson } from './parse-json.js';
import { showValue } from './show-value.js';

/** One stored tensor. `data` is a view on the file's bytes (little endian), not a copy. */
export interface StoredTensor {
  dtype: Dtype;
  shape: number[];
  data: Uint8Array;
}

/** A parsed file: its `__metadata__` and its tensors by name, in the order of the header. */
export interface SafetensorsFile {
  metadata: Record<string, string>;
  tensors: Map<string, StoredTensor>;
}

/** The official reader's limit, which stops a hostile length from reserving all memory. */
const MAX_HEADER = 100_000_000;

type Entry = { name: string; dtype: Dtype; shape: number[]; begin: number; end: number };

/**
 * Parses a safetensors file. Nothing in it is trusted: the tensors must tile the data exactly, as the
 * official reader demands, without holes, overlaps or bytes left over.
 *
 * @param bytes the whole file
 * @param name the file's name, for messages
 * @throws DeftuneError naming the file, the tensor, the value and what was expected
 */
export function parseSafetensors(bytes: Uint8Array, name: string): SafetensorsFile {
  if (bytes.length < 8) {
    throw new DeftuneError(`${name}: expected at least 8 bytes of a safetensors file, found ${bytes.length}`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER)) {
    throw new DeftuneError(
      `${name}: header length ${length} is not credible, expected at most ${MAX_HEADER}; is this a safetensors file?`,
    );
  }
  const dataStart = 8 + Number(length);
  if (dataStart > bytes.length) {
    throw new DeftuneError(
      `${name}: header length ${length} exceeds the file, which has ${bytes.length} bytes; is it truncated?`,
    );
  }
  const header = parseHeader(bytes.subarray(8, dataStart), name);
  const dataLength = bytes.length - dataStart;
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  // Object.entries also lists an own key "__proto__", which JSON.parse makes without touching prototypes.
  for (const [key, value] of Object.entries(header)) {
    if (key === '__metadata__') metadata = parseMetadata(value, name);
    else entries.push(parseEntry(key, value, dataLength, name));
  }
  checkTiling(entries, dataLength, name);
  const tensors = new Map<string, StoredTensor>();
  for (const { name: key, dtype, shape, begin, end } of entries) {
    tensors.set(key, { dtype, shape, data: bytes.subarray(dataStart + begin, dataStart + end) });
  }
  return { metadata, tensors };
}

function parseHeader(bytes: Uint8Array, name: string): object {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new DeftuneError(`${name}: header is not UTF-8; is this a safetensors file?`, { cause });
  }
  const header = parseJson(text, `${name} (header)`);
  if (!isObject(header))
    throw new DeftuneError(`${name}: header is ${showValue(header)}, expected an object of tensors`);
  return header;
}

function parseMetadata(value: unknown, name: string): Record<string, string> {
  if (!isObject(value)) {
    throw new DeftuneError(`${name}: __metadata__ is ${showValue(value)}, expected an object of strings`);
  }
  const pairs = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text !== 'string') {
      throw new DeftuneError(`${name}: __metadata__ ${showValue(key)} is ${showValue(text)}, expected a string`);
    }
    return [key, text];
  });
  return Object.fromEntries(pairs);
}

function parseEntry(key: string, value: unknown, dataLength: number, name: string): Entry {
  const where = `${name}: tensor ${showValue(key)}`;
  if (!isObject(value))
    throw new DeftuneError(`${where} is ${showValue(value)}, expected {dtype, shape, data_offsets}`);
  // Own fields only, so that a missing one is never found on a prototype.
  const field = (wanted: string): unknown => Object.entries(value).find(([key]) => key === wanted)?.[1];
  const dtype = field('dtype');
  const shape = field('shape');
  const offsets = field('data_offsets');
  if (!isDtype(dtype)) {
    throw new DeftuneError(
      `${where}: dtype is ${showValue(dtype)}, expected one of ${Object.keys(DTYPE_SIZES).join(', ')}`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw new DeftuneError(`${where}: shape is ${showValue(shape)}, expected a list of whole numbers of at least 0`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw new DeftuneError(`${where}: data_offsets is ${showValue(offsets)}, expected [begin, end], whole numbers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw new DeftuneError(`${where}: data_offsets is ${showValue(offsets)}, expected begin <= end`);
  if (end > dataLength) {
    throw new DeftuneError(
      `${where}: data_offsets ${showValue(offsets)} exceed the file's ${dataLength} data bytes; is it truncated?`,
    );
  }
  const expected = byteLength(dtype, shape);
  if (expected !== end - begin) {
    throw new DeftuneError(
      `${where}: shape ${showValue(shape)} of ${dtype} takes ${expected ?? 'too many'} bytes, but data_offsets ${showValue(offsets)} hold ${end - begin}`,
    );
  }
  return { name: key, dtype, shape: shape as number[], begin, end };
}

function checkTiling(entries: Entry[], dataLength: number, name: string): void {
  const sorted = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const { name: key, begin, end } of sorted) {
    if (begin !== at) {
      const what =
        begin < at ? 'overlaps the tensor before it, which ends' : 'leaves a hole after the data, which ends';
      throw new DeftuneError(`${name}: tensor ${showValue(key)}: data_offsets [${begin},${end}] ${what} at ${at}`);
    }
    at = end;
  }
  if (at !== dataLength) {
    throw new DeftuneError(`${name}: the tensors end at byte ${at} of the data, expected its end, ${dataLength}`);
  }
}

/** A tensor to write. `data` is in little endian order; its byte length must fit the shape. */
export interface TensorToStore {
  dtype: Dtype;
  shape: readonly number[];
  data: Uint8Array | Float32Array;
}

/**
 * Writes a safetensors file, byte for byte as the official writer does: dtypes from wide to narrow, names
 * sorted within one, the header padded with spaces to a multiple of 8.
 *
 * @param tensors pairs of name and tensor, in any order
 * @param metadata the `__metadata__` strings; default `{ format: 'pt' }`, which transformers requires
 * @throws DeftuneError on a repeated or reserved name, or data that does not fit its shape
 */
export function serializeSafetensors(
  tensors: Iterable<readonly [string, TensorToStore]>,
  metadata: Record<string, string> = { format: 'pt' },
): Uint8Array {
  const dtypeOrder = Object.keys(DTYPE_SIZES);
  const sorted = [...tensors].sort(
    ([a, { dtype: p }], [b, { dtype: q }]) =>
      dtypeOrder.indexOf(q) - dtypeOrder.indexOf(p) || (a < b ? -1 : a > b ? 1 : 0),
  );
  // Assembled as text: an object would reorder names that look like numbers and swallow "__proto__".
  const fields = [`"__metadata__":${JSON.stringify(metadata)}`];
  const seen = new Set<string>(['__metadata__']);
  let at = 0;
  for (const [name, { dtype, shape, data }] of sorted) {
    if (seen.has(name))
      throw new DeftuneError(`tensor name ${showValue(name)} is reserved or repeated, expected unique names`);
    seen.add(name);
    const expected = isDtype(dtype) && shape.every(isCount) ? byteLength(dtype, shape) : undefined;
    if (expected !== data.byteLength || (data instanceof Float32Array && dtype !== 'F32')) {
      throw new DeftuneError(
        `tensor ${showValue(name)}: ${dtype} of shape ${showValue(shape)} takes ${expected ?? 'no valid number of'} bytes, found ${data.byteLength} in a ${data.constructor.name}`,
      );
    }
    fields.push(
      `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [at, at + data.byteLength] })}`,
    );
    at += data.byteLength;
  }
  const text = new TextEncoder().encode(`{${fields.join(',')}}`);
  const headerLength = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + headerLength + at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true);
  bytes.fill(0x20, 8, 8 + headerLength);
  bytes.set(text, 8);
  let offset = 8 + headerLength;
  for (const [, { data }] of sorted) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return bytes;
}

/** Bytes of a tensor, or undefined when the product leaves the safe integers. */
function byteLength(dtype: Dtype, shape: readonly number[]): number | undefined {
  let bytes: number = DTYPE_SIZES[dtype];
  // A 0 anywhere makes the tensor empty; without this, [2^40, 2^40, 0] would count as too large.
  if (shape.includes(0)) return 0;
  for (const dim of shape) {
    bytes *= dim;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
