import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { pick } from './case-inputs.js';

export const RMS_NORM: GradientChecks = {
  rmsNorm: [
    {
      title: 'odd width',
      inputs: { x: uniform([4, 7], 160, 2), gamma: uniform([7], 161) },
      run: (_, inputs) => [ops.rmsNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), 0.25)],
    },
    {
      title: 'more rows than a chunk of the reduction',
      inputs: { x: uniform([130, 19], 162, 2), gamma: uniform([19], 163) },
      samples: 40,
      run: (_, inputs) => [ops.rmsNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), 1e-6)],
    },
  ],
};
