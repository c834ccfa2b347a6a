import type { Tensor } from '../tensor/tensor.js';

/** Norms of the rows of W + scaling · B · A, as a handle [1, out]: also what peft starts the magnitude from. */
export function doraNorms(weight: Tensor, loraA: Tensor, loraB: Tensor, scaling: number): number {
  const { backend } = weight;
  const sum = backend.linearBackwardInputAdd(backend.duplicate(weight.handle), loraB.handle, loraA.handle, scaling);
  const norms = backend.rowNorms(sum);
  backend.free(sum);
  return norms;
}
