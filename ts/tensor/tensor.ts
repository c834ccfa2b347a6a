import type { Backend } from '../backend/backend.js';
import type { Node } from './node.js';

/**
 * A tensor that lives in a backend; this is a typed name for it. It is freed with the scope it was made in (see {@link scope}), or by
 * {@link Tensor.dispose} / `using`.
 */
export class Tensor {
  /** The operation that made it, where a gradient can flow through it. */
  node: Node | undefined;
  /** Which of the node's outputs it is. */
  outputIndex = 0;
  /** Whether gradients are wanted for it (parameters) or flow through it. */
  requiresGrad = false;

  /**
   * @param shape rows first; all axes but the last together are the backend's rows.
   */
  constructor(
    readonly backend: Backend,
    readonly handle: number,
    readonly shape: readonly number[],
  ) {}

  /** Copies f32 values into the backend. */
  static fromFloats(backend: Backend, values: Float32Array | readonly number[], shape: readonly number[]): Tensor {
    const data = values instanceof Float32Array ? values : Float32Array.from(values);
    const [rows, cols] = matrixShape(shape);
    return new Tensor(backend, backend.uploadF32(data, rows, cols), shape);
  }

  /** Copies integers (ids, offsets, labels) into the backend. */
  static fromInts(backend: Backend, values: Int32Array | readonly number[]): Tensor {
    const data = values instanceof Int32Array ? values : Int32Array.from(values);
    return new Tensor(backend, backend.uploadI32(data, 1, data.length), [data.length]);
  }

  get rows(): number {
    return matrixShape(this.shape)[0];
  }

  get cols(): number {
    return matrixShape(this.shape)[1];
  }

  get size(): number {
    return this.shape.reduce((product, dim) => product * dim, 1);
  }

  /** Copies the values out. */
  toFloats(): Float32Array {
    return this.backend.readF32(this.handle);
  }

  /** The value of a tensor with one element. */
  item(): number {
    return this.toFloats()[0] ?? Number.NaN;
  }

  /** Frees it now. */
  dispose(): void {
    this.backend.free(this.handle);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** `[rows, cols]` of a shape as the backend sees it. */
export function matrixShape(shape: readonly number[]): [number, number] {
  const cols = shape.at(-1) ?? 1;
  return [shape.slice(0, -1).reduce((product, dim) => product * dim, 1), cols];
}
