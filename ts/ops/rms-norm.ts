import { recordOne } from '../autograd/node.js';
import type { GradientHandles } from '../tensor/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** x / √(mean(x²) + eps) · gamma over the last axis (Zhang and Sennrich 2019): T5's layer norm, without mean and bias. */
export function rmsNorm(x: Tensor, gamma: Tensor, eps: number): Tensor {
  const { backend } = x;
  const [y = 0, rstd = 0] = Array.from(backend.rmsNorm(x.handle, gamma.handle, eps));
  const backward = (dy: number): GradientHandles =>
    Array.from(backend.rmsNormBackward(dy, x.handle, rstd, gamma.handle, gamma.requiresGrad));
  return recordOne('rmsNorm', backend, [x, gamma], y, x.shape, backward, [rstd]);
}
