import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** Layer norm over the last axis (Ba et al. 2016) with biased variance. */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, eps: number): Tensor {
  const { backend } = x;
  const [y = 0, stats = 0] = Array.from(backend.layerNorm(x.handle, gamma.handle, beta.handle, eps));
  return recordOne('layerNorm', backend, [x, gamma, beta], y, x.shape, (dy) => {
    const affine = gamma.requiresGrad || beta.requiresGrad;
    return Array.from(backend.layerNormBackward(dy, x.handle, stats, gamma.handle, affine));
  });
}
