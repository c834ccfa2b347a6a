import { activationKind } from '../../../ts/ops/activation-kind.js';
import * as ops from '../../../ts/ops/index.js';
import { Tensor } from '../../../ts/tensor/tensor.js';
import { uniform, type GradientCase, type GradientChecks, type Input } from '../gradient-check.js';
import { BLOCK, mixedDensity, pick } from './case-inputs.js';

/** W, A and B are no inputs here: the norm depends on them and counts as constant. `transformer-ops.test.ts` checks their gradients. */
function dora(
  title: string,
  x: Input,
  bias: boolean,
  options: { p?: number; activations?: boolean } = {},
): GradientCase {
  const [inFeatures = 0] = x.shape.slice(-1);
  const { p, activations = false } = options;
  return {
    title,
    ...(activations ? { samples: 150 } : {}),
    inputs: { x, ...(bias ? { bias: uniform([5], 225) } : {}), magnitude: uniform([5], 226) },
    run: (backend, inputs) => {
      const input = activations ? ops.activate(pick(inputs, 'x'), activationKind('relu')).out : pick(inputs, 'x');
      const constant = (shape: readonly number[], seed: number): Tensor =>
        Tensor.fromFloats(backend, uniform(shape, seed).values, shape);
      const [weight, loraA, loraB] = [
        constant([5, inFeatures], 227),
        constant([2, inFeatures], 228),
        constant([5, 2], 229),
      ];
      const dropout = p === undefined ? undefined : { p, seed: 3, stream: 4 };
      return [ops.doraLinear(input, weight, inputs['bias'], loraA, loraB, pick(inputs, 'magnitude'), 0.75, dropout)];
    },
  };
}

export const DORA_LINEAR: GradientChecks = {
  doraLinear: [
    dora('with bias', uniform([4, 6], 220), true),
    dora('without bias', uniform([4, 6], 221), false),
    dora('with dropout', uniform([4, 6], 222), true, { p: 0.3 }),
    dora('on MLP activations', mixedDensity(BLOCK + 9, 12, 223), true, { activations: true }),
    dora('on MLP activations with dropout', mixedDensity(BLOCK + 9, 12, 224), true, { p: 0.3, activations: true }),
  ],
};
