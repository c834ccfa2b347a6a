import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** Which random numbers a dropout uses: element i of (seed, stream) is the same on every machine and thread count. */
export interface DropoutOptions {
  /** Probability of a zero, 0 to less than 1. */
  p: number;
  seed: number;
  stream: number;
}

/** Inverted dropout: zero with probability p, otherwise x / (1 - p). The mask is made again in the backward pass. */
export function dropout(x: Tensor, { p, seed, stream }: DropoutOptions): Tensor {
  const { backend } = x;
  const out = backend.dropout(x.handle, p, seed, stream);
  return recordOne('dropout', backend, [x], out, x.shape, (dy) => [backend.dropout(dy, p, seed, stream)]);
}

/** dropout(x) + residual. */
export function dropoutAdd(x: Tensor, residual: Tensor, { p, seed, stream }: DropoutOptions): Tensor {
  const { backend } = x;
  const out = backend.dropoutAdd(x.handle, residual.handle, p, seed, stream);
  return recordOne('dropoutAdd', backend, [x, residual], out, x.shape, (dy) => [
    x.requiresGrad ? backend.dropout(dy, p, seed, stream) : 0,
    dy,
  ]);
}
