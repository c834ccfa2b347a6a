import { recordOne } from '../autograd/node.js';
import type { GradientHandles } from '../tensor/node.js';
import type { Tensor } from '../tensor/tensor.js';
import type { DropoutOptions } from './dropout.js';

/** Layer norm over the last axis (Ba et al. 2016) with biased variance. */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, eps: number): Tensor {
  const { backend } = x;
  const [y = 0, stats = 0] = Array.from(backend.layerNorm(x.handle, gamma.handle, beta.handle, eps));
  const backward = (dy: number): GradientHandles => {
    const affine = gamma.requiresGrad || beta.requiresGrad;
    return Array.from(backend.layerNormBackward(dy, x.handle, stats, gamma.handle, affine));
  };
  return recordOne('layerNorm', backend, [x, gamma, beta], y, x.shape, backward, [stats]);
}

/** The layer norm of dropout(x) + residual; by default nothing is dropped. */
export function addLayerNorm(
  x: Tensor,
  residual: Tensor,
  gamma: Tensor,
  beta: Tensor,
  eps: number,
  { p, seed, stream }: DropoutOptions = { p: 0, seed: 0, stream: 0 },
): Tensor {
  const { backend } = x;
  const results = backend.addLayerNorm(x.handle, residual.handle, p, seed, stream, gamma.handle, beta.handle, eps);
  const [y = 0, sum = 0, stats = 0] = Array.from(results);
  const inputs = [x, residual, gamma, beta];
  const backward = (dy: number): GradientHandles => {
    const affine = gamma.requiresGrad || beta.requiresGrad;
    const [dSum = 0, ...dAffine] = Array.from(backend.layerNormBackward(dy, sum, stats, gamma.handle, affine));
    const dx = x.requiresGrad && p > 0 ? backend.dropout(dSum, p, seed, stream) : dSum;
    return [dx, dSum, ...dAffine];
  };
  return recordOne('addLayerNorm', backend, inputs, y, x.shape, backward, [sum, stats]);
}
