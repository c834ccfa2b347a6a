import type { Backend } from '../backend/backend.js';
import { transpose } from '../io/transpose.js';
import { Tensor } from '../tensor/tensor.js';

/** A tensor of a model: lives outside every scope, frozen unless `requiresGrad` is set. */
export class Parameter extends Tensor {
  /** Factor on the learning rate. */
  rateFactor = 1;
  /** Whether weight decay applies to it. */
  isDecayed = true;
  /** Whether its values are there: those of an MLP that is left out are not, and it must not be computed with. */
  isLoaded = true;

  /**
   * @param storedShape its shape in a checkpoint, where it is computed with in another
   * @param isTransposed whether it is the transpose of what checkpoints hold: GPT-2 stores [in, out]
   */
  constructor(
    backend: Backend,
    handle: number,
    shape: readonly number[],
    readonly storedShape: readonly number[] = shape,
    readonly isTransposed = false,
  ) {
    super(backend, backend.keep(handle, 0), shape);
  }

  /** From f32 values. */
  static of(backend: Backend, values: Float32Array, shape: readonly number[]): Parameter {
    const tensor = Tensor.fromFloats(backend, values, shape);
    return new Parameter(backend, tensor.handle, shape);
  }

  /** Values as a checkpoint holds them. @param handle another tensor of this shape, e.g. its gradient; default: its own values */
  toStored(handle = this.handle): Float32Array {
    const values = this.backend.readF32(handle);
    return this.isTransposed ? transpose(values, this.rows, this.cols) : values;
  }

  /** Overwrites the values with those of a checkpoint. */
  writeStored(values: Float32Array): void {
    this.backend.writeF32(this.handle, this.isTransposed ? transpose(values, this.cols, this.rows) : values);
  }
}
