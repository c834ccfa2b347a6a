import { activationKind } from '../../../ts/ops/activation-kind.js';
import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { BLOCK, mixedDensity, pick } from './case-inputs.js';

export const DROPOUT: GradientChecks = {
  dropout: [
    {
      title: 'p 0.4',
      inputs: { x: uniform([5, 7], 21) },
      run: (_, inputs) => [ops.dropout(pick(inputs, 'x'), { p: 0.4, seed: 1, stream: 2 })],
    },
    {
      title: 'MLP activations in compact and dense blocks, then the down-projection',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 181), weight: uniform([6, 20], 182) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(ops.dropout(out, { p: 0.4, seed: 1, stream: 2 }), pick(inputs, 'weight'))];
      },
    },
  ],
  dropoutAdd: [
    {
      title: 'p 0.4',
      inputs: { x: uniform([5, 7], 22), residual: uniform([5, 7], 23) },
      run: (_, inputs) => [ops.dropoutAdd(pick(inputs, 'x'), pick(inputs, 'residual'), { p: 0.4, seed: 1, stream: 2 })],
    },
  ],
};
