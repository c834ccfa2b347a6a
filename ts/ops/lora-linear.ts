import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** Dropout on the low-rank path's input. */
export interface LoraDropout {
  p: number;
  seed: number;
  stream: number;
}

/**
 * y = x · Wᵀ + b + scaling · (dropout(x) · Aᵀ) · Bᵀ (Hu et al. 2021, eq. 3), as one operation: the update is added in place.
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
  dropout?: LoraDropout,
): Tensor {
  const { backend } = x;
  const drop = (handle: number): number =>
    dropout && dropout.p > 0 ? backend.dropout(handle, dropout.p, dropout.seed, dropout.stream) : handle;
  const dropped = dropout && dropout.p > 0 ? drop(backend.toDense(x.handle)) : x.handle;
  const down = backend.linear(dropped, loraA.handle, 0);
  const y = backend.linear(x.handle, weight.handle, bias?.handle ?? 0);
  backend.linearAdd(y, down, loraB.handle, scaling);
  const inputs = [x, weight, bias, loraA, loraB];
  return recordOne('loraLinear', backend, inputs, y, [...x.shape.slice(0, -1), weight.rows], (dy) => {
    const dDown = backend.scale(backend.linearBackwardInput(dy, loraB.handle, 0), scaling);
    let dx = 0;
    if (x.requiresGrad) {
      dx = backend.linearBackwardInput(dy, weight.handle, x.handle);
      if (dropped === x.handle) {
        // Where x is MLP activations both terms have its pattern; otherwise the second is added without a temporary.
        const low = backend.linearBackwardInput(dDown, loraA.handle, x.handle);
        dx = backend.addInPlace(dx, low, 1);
      } else {
        dx = backend.add(backend.toDense(dx), drop(backend.linearBackwardInput(dDown, loraA.handle, 0)));
      }
    }
    return [
      dx,
      weight.requiresGrad ? backend.linearBackwardWeight(dy, x.handle, 1) : 0,
      bias?.requiresGrad ? backend.sumRows(dy) : 0,
      loraA.requiresGrad ? backend.linearBackwardWeight(dDown, dropped, 1) : 0,
      loraB.requiresGrad ? backend.linearBackwardWeight(dy, down, scaling) : 0,
    ];
  });
}
