import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RELU } from './place.js';

/** A safetensors file from its header. */
export function safetensors(header: string, data = 0, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** What such a header says of a tensor of F32; its bytes end before `end`. */
export const entry = (begin: number, end: number): string =>
  `{"dtype":"F32","shape":[${(end - begin) / 4}],"data_offsets":[${begin},${end}]}`;

/** The model's own file. */
export const original = (): Buffer => readFileSync(join(RELU.model, 'model.safetensors'));

/** The model's own file with one of its values replaced. */
export function poisoned(value: number): Uint8Array {
  const bytes = Uint8Array.from(original());
  const view = new DataView(bytes.buffer);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Record<
    string,
    { data_offsets?: [number, number] }
  >;
  const [begin] = header['bert.encoder.layer.0.output.dense.weight']?.data_offsets ?? [0];
  view.setFloat32(start + begin, value, true);
  return bytes;
}
