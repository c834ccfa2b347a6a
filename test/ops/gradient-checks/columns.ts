import { activationKind } from '../../../ts/ops/activation-kind.js';
import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { BLOCK, mixedDensity, pick } from './case-inputs.js';

export const COLUMNS: GradientChecks = {
  splitCols: [
    {
      title: 'three parts',
      inputs: { x: uniform([4, 9], 171) },
      run: (_, inputs) => ops.splitCols(pick(inputs, 'x'), [2, 4, 3]),
    },
    {
      title: 'one part unused',
      inputs: { x: uniform([4, 9], 172) },
      run: (_, inputs) => ops.splitCols(pick(inputs, 'x'), [2, 4, 3]).slice(1),
    },
  ],
  concatCols: [
    {
      title: 'three matrices',
      inputs: { a: uniform([4, 2], 173), b: uniform([4, 5], 174), c: uniform([4, 1], 175) },
      run: (_, inputs) => [ops.concatCols([pick(inputs, 'a'), pick(inputs, 'b'), pick(inputs, 'c')])],
    },
  ],
  scaleCols: [
    {
      title: 'plain values',
      inputs: { x: uniform([5, 7], 176), factors: uniform([7], 177) },
      run: (_, inputs) => [ops.scaleCols(pick(inputs, 'x'), pick(inputs, 'factors'))],
    },
    {
      title: 'MLP activations in compact and dense blocks, then the down-projection',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 178), factors: uniform([20], 179), weight: uniform([6, 20], 180) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(ops.scaleCols(out, pick(inputs, 'factors')), pick(inputs, 'weight'))];
      },
    },
  ],
};
