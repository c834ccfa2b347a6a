import type { Backend } from '../../../ts/backend/backend.js';
import { activationKind } from '../../../ts/ops/activation-kind.js';
import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientCase, type GradientChecks, type Input } from '../gradient-check.js';
import { BLOCK, mixedDensity, pick, type Inputs } from './case-inputs.js';

function lora(
  title: string,
  x: Input,
  bias: boolean,
  options: { p?: number; activations?: boolean; samples?: number } = {},
): GradientCase {
  const [inFeatures = 0] = x.shape.slice(-1);
  const { p, activations = false, samples } = options;
  return {
    title,
    ...(samples === undefined ? {} : { samples }),
    inputs: {
      x,
      weight: uniform([5, inFeatures], 31),
      ...(bias ? { bias: uniform([5], 32) } : {}),
      loraA: uniform([2, inFeatures], 33),
      loraB: uniform([5, 2], 34),
    },
    run: (_, inputs) => {
      const input = activations ? ops.activate(pick(inputs, 'x'), activationKind('relu')).out : pick(inputs, 'x');
      const dropout = p === undefined ? undefined : { p, seed: 3, stream: 4 };
      const factors = [pick(inputs, 'loraA'), pick(inputs, 'loraB')] as const;
      return [ops.loraLinear(input, pick(inputs, 'weight'), inputs['bias'], ...factors, 0.75, dropout)];
    },
    ...(activations ? { kinks: (_: Backend, inputs: Inputs) => pick(inputs, 'x') } : {}),
  };
}

export const LORA_LINEAR: GradientChecks = {
  loraLinear: [
    lora('with bias', uniform([4, 6], 70), true),
    lora('without bias', uniform([4, 6], 71), false),
    lora('with dropout', uniform([4, 6], 72), true, { p: 0.3 }),
    lora('with dropout of probability 0', uniform([4, 6], 73), true, { p: 0 }),
    lora('on MLP activations', mixedDensity(BLOCK + 9, 12, 74), true, { activations: true, samples: 150 }),
    lora('on MLP activations with dropout', mixedDensity(BLOCK + 9, 12, 75), true, {
      p: 0.3,
      activations: true,
      samples: 150,
    }),
  ],
};
