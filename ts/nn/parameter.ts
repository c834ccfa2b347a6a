import type { Backend } from '../backend/backend.js';
import { Tensor } from '../tensor/tensor.js';

/** A tensor of a model: lives outside every scope, frozen unless `requiresGrad` is set. */
export class Parameter extends Tensor {
  /** @param storedShape its shape in a checkpoint, where it is computed with in another */
  constructor(
    backend: Backend,
    handle: number,
    shape: readonly number[],
    readonly storedShape: readonly number[] = shape,
  ) {
    super(backend, backend.keep(handle, 0), shape);
  }

  /** From f32 values. */
  static of(backend: Backend, values: Float32Array, shape: readonly number[]): Parameter {
    const tensor = Tensor.fromFloats(backend, values, shape);
    return new Parameter(backend, tensor.handle, shape);
  }
}
