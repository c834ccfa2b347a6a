import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { pick } from './case-inputs.js';

export const LAYER_NORM: GradientChecks = {
  layerNorm: [
    {
      title: 'odd width',
      inputs: { x: uniform([4, 7], 24, 2), gamma: uniform([7], 25), beta: uniform([7], 26) },
      run: (_, inputs) => [ops.layerNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), pick(inputs, 'beta'), 1e-5)],
    },
    {
      title: 'more rows than a chunk of the reduction',
      inputs: { x: uniform([130, 19], 27, 2), gamma: uniform([19], 28), beta: uniform([19], 29) },
      samples: 40,
      run: (_, inputs) => [ops.layerNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), pick(inputs, 'beta'), 1e-5)],
    },
  ],
  addLayerNorm: [0, 0.4].map((p) => ({
    title: `p ${p}`,
    inputs: {
      x: uniform([60, 7], 190, 2),
      residual: uniform([60, 7], 191, 2),
      gamma: uniform([7], 192),
      beta: uniform([7], 193),
    },
    samples: 40,
    run: (_, inputs) => {
      const [x, residual] = [pick(inputs, 'x'), pick(inputs, 'residual')];
      const drop = { p, seed: 1, stream: 2 };
      return [ops.addLayerNorm(x, residual, pick(inputs, 'gamma'), pick(inputs, 'beta'), 1e-5, drop)];
    },
  })),
};
