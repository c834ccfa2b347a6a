import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * y = x · Wᵀ + b. `x` may be MLP activations: zeros are skipped, and the gradient keeps their pattern.
 *
 * @param x [..., in]
 * @param weight [out, in]
 * @param bias [out]
 * @returns [..., out]
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const { backend } = x;
  const y = backend.linear(x.handle, weight.handle, bias?.handle ?? 0);
  return recordOne('linear', backend, [x, weight, bias], y, [...x.shape.slice(0, -1), weight.rows], (dy) => [
    x.requiresGrad ? backend.linearBackwardInput(dy, weight.handle, x.handle) : 0,
    weight.requiresGrad ? backend.linearBackwardWeight(dy, x.handle, 1) : 0,
    bias?.requiresGrad ? backend.sumRows(dy) : 0,
  ]);
}
