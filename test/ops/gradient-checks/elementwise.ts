import { activationKind } from '../../../ts/ops/activation-kind.js';
import * as ops from '../../../ts/ops/index.js';
import { awayFromZero, uniform, type GradientChecks } from '../gradient-check.js';
import { ACTIVATIONS } from './activations.js';
import { BLOCK, mixedDensity, pick } from './case-inputs.js';

export const ELEMENTWISE: GradientChecks = {
  add: [
    {
      title: 'two inputs',
      inputs: { a: uniform([3, 5], 1), b: uniform([3, 5], 2) },
      run: (_, inputs) => [ops.add(pick(inputs, 'a'), pick(inputs, 'b'))],
    },
    {
      title: 'MLP activations used twice',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 235), weight: uniform([20, 20], 236) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        const [y, z] = [ops.linear(out, pick(inputs, 'weight')), ops.linear(out, pick(inputs, 'weight'))];
        return [ops.add(ops.add(y, z), ops.add(out, out))];
      },
    },
    {
      title: 'a summed gradient passed on to two inputs, one of which gets more before the other is used',
      inputs: { x: uniform([2, 3], 237) },
      run: (_, inputs) => {
        const x = ops.scale(pick(inputs, 'x'), 2);
        const [first, second] = [ops.mul(x, x), ops.scale(x, 3)];
        const sum = ops.add(ops.add(x, first), second);
        return [ops.mul(sum, sum)];
      },
    },
    {
      title: 'an input used twice, its gradients added up',
      inputs: { a: uniform([2, 3], 3), b: uniform([2, 3], 4) },
      run: (_, inputs) => {
        const sum = ops.add(pick(inputs, 'a'), pick(inputs, 'b'));
        return [ops.add(ops.add(sum, sum), ops.add(sum, pick(inputs, 'a')))];
      },
    },
  ],
  scale: [
    {
      title: 'a factor',
      inputs: { x: uniform([3, 5], 5) },
      run: (_, inputs) => [ops.scale(pick(inputs, 'x'), -1.75)],
    },
  ],
  mul: [
    {
      title: 'two inputs',
      inputs: { a: uniform([3, 5], 6), b: uniform([3, 5], 7) },
      run: (_, inputs) => [ops.mul(pick(inputs, 'a'), pick(inputs, 'b'))],
    },
    {
      title: 'a square',
      inputs: { a: uniform([3, 5], 8) },
      run: (_, inputs) => [ops.mul(pick(inputs, 'a'), pick(inputs, 'a'))],
    },
  ],
  div: [
    {
      title: 'two inputs',
      inputs: { a: uniform([3, 5], 216), b: awayFromZero([3, 5], 217, 2, 1) },
      run: (_, inputs) => [ops.div(pick(inputs, 'a'), pick(inputs, 'b'))],
    },
  ],
  activation: ACTIVATIONS.map((name, index) => ({
    title: name,
    inputs: { x: awayFromZero([3, 7], 10 + index, 3) },
    run: (_, inputs) => [ops.activation(pick(inputs, 'x'), activationKind(name))],
  })),
};
