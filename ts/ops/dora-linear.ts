import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';
import { doraNorms } from './dora-norms.js';
import type { DropoutOptions } from './dropout.js';

/**
 * Weight-decomposed low-rank adaptation (Liu et al. 2024, eq. 5 and section 4.3) as peft computes it: with u = dropout(x) and
 * c = magnitude / ‖W + scaling · B · A‖ (norms of the rows, constant in the gradient),
 *
 * y = x · Wᵀ + b + (c - 1) ∘ (u · Wᵀ) + c ∘ (scaling · u · Aᵀ · Bᵀ),
 *
 * which without dropout is c ∘ (x · (W + scaling · B · A)ᵀ) + b. `x` may be MLP activations.
 *
 * @param x [..., in]
 * @param weight [out, in]
 * @param loraA [r, in]
 * @param loraB [out, r]
 * @param magnitude [out]
 * @returns [..., out]
 */
export function doraLinear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  loraA: Tensor,
  loraB: Tensor,
  magnitude: Tensor,
  scaling: number,
  dropout?: DropoutOptions,
): Tensor {
  const { backend } = x;
  const drops = dropout !== undefined && dropout.p > 0;
  const drop = (handle: number): number =>
    drops ? backend.dropout(handle, dropout.p, dropout.seed, dropout.stream) : handle;
  const norms = doraNorms(weight, loraA, loraB, scaling);
  const factors = backend.div(magnitude.handle, norms);

  const dropped = drop(x.handle);
  const down = backend.linear(dropped, loraA.handle, 0);
  // z = u · (W + scaling · B · A)ᵀ, so that y = x · Wᵀ + b - u · Wᵀ + c ∘ z.
  const z = backend.linear(dropped, weight.handle, 0);
  const y = drops ? backend.linear(x.handle, weight.handle, bias?.handle ?? 0) : 0;
  if (drops) backend.addInPlace(y, z, -1);
  backend.linearAdd(z, down, loraB.handle, scaling);
  const out = drops
    ? backend.addInPlace(y, backend.scaleCols(z, factors, 0), 1)
    : backend.scaleCols(z, factors, bias?.handle ?? 0);

  const inputs = [x, weight, bias, loraA, loraB, magnitude];
  return recordOne('doraLinear', backend, inputs, out, [...x.shape.slice(0, -1), weight.rows], (dy) => {
    const dz = backend.scaleCols(dy, factors, 0);
    const dDown = backend.scale(backend.linearBackwardInput(dz, loraB.handle, 0), scaling);
    // Gradient of u · Wᵀ, which with dropout also has the coefficient -1.
    const dBase = drops && (x.requiresGrad || weight.requiresGrad) ? backend.add(dz, backend.scale(dy, -1)) : dz;
    let dx = 0;
    if (x.requiresGrad) {
      const low = backend.linearBackwardInput(dDown, loraA.handle, x.handle);
      const dDropped = backend.addInPlace(backend.linearBackwardInput(dBase, weight.handle, x.handle), low, 1);
      dx = drops
        ? backend.addInPlace(backend.linearBackwardInput(dy, weight.handle, x.handle), drop(dDropped), 1)
        : dDropped;
    }
    let dWeight = 0;
    if (weight.requiresGrad) {
      dWeight = backend.linearBackwardWeight(dBase, dropped, 1);
      if (drops) backend.addInPlace(dWeight, backend.linearBackwardWeight(dy, x.handle, 1), 1);
    }
    return [
      dx,
      dWeight,
      bias?.requiresGrad ? backend.sumRows(dy) : 0,
      loraA.requiresGrad ? backend.linearBackwardWeight(dDown, dropped, 1) : 0,
      loraB.requiresGrad ? backend.linearBackwardWeight(dz, down, scaling) : 0,
      magnitude.requiresGrad ? backend.div(backend.sumProducts(dy, z), norms) : 0,
    ];
  });
}
