import type { Backend } from '../../../ts/backend/backend.js';
import { Tensor } from '../../../ts/tensor/tensor.js';
import { awayFromZero, type Input } from '../gradient-check.js';

/** Rows of a block of MLP activations; more rows than this make several blocks. */
export const BLOCK = 48;

export const ints = (backend: Backend, values: readonly number[]): Tensor => Tensor.fromInts(backend, values);

export type Inputs = Readonly<Record<string, Tensor>>;
export const pick = (inputs: Inputs, name: string): Tensor => inputs[name] as Tensor;

/** MLP activations with few non-zeros in the first block and many in the second, so that one is compact and one dense. */
export function mixedDensity(rows: number, cols: number, seed: number): Input {
  const { values } = awayFromZero([rows, cols], seed);
  return {
    shape: [rows, cols],
    values: values.map((value, index) => {
      const isSparse = index < BLOCK * cols && index % 11 !== 0;
      return isSparse ? -Math.abs(value) : value;
    }),
  };
}
