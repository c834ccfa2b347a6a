import { recordOne } from '../autograd/node.js';
import type { GradientHandles } from '../tensor/node.js';
import type { Tensor } from '../tensor/tensor.js';
import type { DropoutOptions } from './dropout.js';

/**
 * y = x · Wᵀ + b + scaling · (dropout(x) · Aᵀ) · Bᵀ (Hu et al. 2021, eq. 3), as one operation: the update is added in place. `x` may be
 * MLP activations.
 *
 * @param x [..., in]
 * @param weight [out, in]
 * @param loraA [r, in]
 * @param loraB [out, r]
 * @returns [..., out]
 */
export function loraLinear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  loraA: Tensor,
  loraB: Tensor,
  scaling: number,
  dropout?: DropoutOptions,
): Tensor {
  const { backend } = x;
  const drop = (handle: number): number =>
    dropout && dropout.p > 0 ? backend.dropout(handle, dropout.p, dropout.seed, dropout.stream) : handle;
  const dropped = drop(x.handle);
  const down = backend.linear(dropped, loraA.handle, 0);
  const y = backend.linear(x.handle, weight.handle, bias?.handle ?? 0);
  backend.linearAdd(y, down, loraB.handle, scaling);
  const backward = (dy: number): GradientHandles => {
    const dScaled = backend.linearBackwardInput(dy, loraB.handle, 0);
    const dDown = backend.scale(dScaled, scaling);
    let dx = 0;
    if (x.requiresGrad) {
      // Where x is MLP activations both terms have its pattern.
      const high = backend.linearBackwardInput(dy, weight.handle, x.handle);
      const low = backend.linearBackwardInput(dDown, loraA.handle, x.handle);
      const lowDropped = drop(low);
      dx = backend.addInPlace(high, lowDropped, 1);
      for (const handle of new Set([low, lowDropped])) backend.free(handle);
    }
    const grads = [
      dx,
      weight.requiresGrad ? backend.linearBackwardWeight(dy, x.handle, 1) : 0,
      bias?.requiresGrad ? backend.sumRows(dy) : 0,
      loraA.requiresGrad ? backend.linearBackwardWeight(dDown, dropped, 1) : 0,
      loraB.requiresGrad ? backend.linearBackwardWeight(dy, down, scaling) : 0,
    ];
    backend.free(dScaled);
    backend.free(dDown);
    return grads;
  };
  const inputs = [x, weight, bias, loraA, loraB];
  const shape = [...x.shape.slice(0, -1), weight.rows];
  return recordOne('loraLinear', backend, inputs, y, shape, backward, [down, dropped]);
}
