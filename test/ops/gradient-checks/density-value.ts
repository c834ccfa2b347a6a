import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { pick } from './case-inputs.js';

export const DENSITY_VALUE: GradientChecks = {
  densityValue: (['tanh', 'l0'] as const).map((kind, index) => ({
    title: `${kind}, two maps`,
    inputs: { first: uniform([1, 7], 140 + index), second: uniform([1, 3], 142 + index) },
    run: (_, inputs) => [
      ops.densityValue([pick(inputs, 'first'), pick(inputs, 'second')], kind, kind === 'tanh' ? 1.5 : 0.5, 0.25),
    ],
  })),
};
