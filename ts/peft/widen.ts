import { DeftuneError } from '../error.js';
import type { StoredTensor } from '../io/safetensors.js';
import type { TensorValues } from './saved-tensor.js';

/** Values of a stored tensor in f32. @throws DeftuneError where it is of another type than F32, F16 or BF16 */
export function widen({ dtype, shape, data }: StoredTensor, name: string): TensorValues {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const read: Partial<Record<string, (index: number) => number>> = {
    F32: (index) => view.getFloat32(index * 4, true),
    F16: (index) => halfToFloat(view.getUint16(index * 2, true)),
    BF16: (index) => bfloatToFloat(view.getUint16(index * 2, true)),
  };
  const element = read[dtype];
  if (!element) throw new DeftuneError(`${name} is stored as ${dtype}, expected F32, F16 or BF16`);
  const size = shape.reduce((product, dim) => product * dim, 1);
  return { shape, values: Float32Array.from({ length: size }, (_, index) => element(index)) };
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const scratch = new DataView(new ArrayBuffer(4));

function bfloatToFloat(bits: number): number {
  scratch.setUint32(0, bits * 65_536);
  return scratch.getFloat32(0);
}
