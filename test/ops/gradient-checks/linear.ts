import { activationKind } from '../../../ts/ops/activation-kind.js';
import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { BLOCK, mixedDensity, pick } from './case-inputs.js';

export const LINEAR: GradientChecks = {
  linear: [
    {
      title: 'with bias',
      inputs: { x: uniform([4, 6], 50), weight: uniform([5, 6], 51), bias: uniform([5], 52) },
      run: (_, inputs) => [ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'), pick(inputs, 'bias'))],
    },
    {
      title: 'without bias, one row',
      inputs: { x: uniform([1, 6], 53), weight: uniform([5, 6], 54) },
      run: (_, inputs) => [ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'))],
    },
    {
      title: 'sizes past the edges of the tiles',
      inputs: { x: uniform([53, 76], 55), weight: uniform([36, 76], 56), bias: uniform([36], 57) },
      samples: 30,
      run: (_, inputs) => [ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'), pick(inputs, 'bias'))],
    },
    {
      title: 'on MLP activations in compact and dense blocks',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 58), weight: uniform([6, 20], 59), bias: uniform([6], 60) },
      samples: 150,
      run: (_, inputs) => [
        ops.linear(
          ops.activate(pick(inputs, 'pre'), activationKind('relu')).out,
          pick(inputs, 'weight'),
          pick(inputs, 'bias'),
        ),
      ],
    },
    {
      title: 'twice on the same MLP activations',
      inputs: { pre: mixedDensity(BLOCK + 2, 8, 61), weight: uniform([3, 8], 62) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(out, pick(inputs, 'weight')), ops.linear(out, pick(inputs, 'weight'))];
      },
    },
    {
      title: 'and the MLP activations themselves are used',
      inputs: { pre: mixedDensity(BLOCK + 2, 8, 63), weight: uniform([3, 8], 64) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(out, pick(inputs, 'weight')), out];
      },
    },
  ],
};
