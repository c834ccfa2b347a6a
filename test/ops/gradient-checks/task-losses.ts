import * as ops from '../../../ts/ops/index.js';
import { Tensor } from '../../../ts/tensor/tensor.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { ints, pick } from './case-inputs.js';

export const TASK_LOSSES: GradientChecks = {
  crossEntropy: [
    {
      title: 'three classes, one row ignored',
      inputs: { logits: uniform([4, 3], 150, 2) },
      run: (backend, inputs) => [ops.crossEntropy(pick(inputs, 'logits'), ints(backend, [2, -100, 0, 1]))],
    },
    {
      title: 'smoothed labels',
      inputs: { logits: uniform([4, 3], 153, 2) },
      run: (backend, inputs) => [ops.crossEntropy(pick(inputs, 'logits'), ints(backend, [2, -100, 0, 1]), 0.3)],
    },
    {
      title: 'followed by a scale',
      inputs: { logits: uniform([2, 5], 151, 2) },
      run: (backend, inputs) => [ops.scale(ops.crossEntropy(pick(inputs, 'logits'), ints(backend, [4, 0])), 3)],
    },
  ],
  linearCrossEntropy: [
    {
      title: 'with bias, one row ignored',
      inputs: { hidden: uniform([5, 6], 230), weight: uniform([7, 6], 231), bias: uniform([7], 232) },
      run: (backend, inputs) => {
        const labels = ints(backend, [2, -100, 0, 6, 1]);
        const [hidden, weight] = [pick(inputs, 'hidden'), pick(inputs, 'weight')];
        return [ops.linearCrossEntropy(hidden, weight, inputs['bias'], labels).loss];
      },
    },
    {
      title: 'without bias, smoothed, followed by a scale',
      inputs: { hidden: uniform([3, 6], 233), weight: uniform([7, 6], 234) },
      run: (backend, inputs) => {
        const labels = ints(backend, [2, 5, 0]);
        const [hidden, weight] = [pick(inputs, 'hidden'), pick(inputs, 'weight')];
        return [ops.scale(ops.linearCrossEntropy(hidden, weight, undefined, labels, 0.25).loss, 3)];
      },
    },
  ],
  sequenceCrossEntropy: [
    {
      title: 'starts and ends in sequences of 4, 1 and 3 tokens, one label ignored',
      inputs: { logits: uniform([8, 2], 153, 2) },
      run: (backend, inputs) => [
        ops.sequenceCrossEntropy(
          pick(inputs, 'logits'),
          ints(backend, [1, 3, 0, 0, -100, 2]),
          ints(backend, [0, 4, 5, 8]),
        ),
      ],
    },
  ],
  meanSquaredError: [
    {
      title: 'a column',
      inputs: { prediction: uniform([5, 1], 152) },
      run: (backend, inputs) => [
        ops.meanSquaredError(pick(inputs, 'prediction'), Tensor.fromFloats(backend, [1, -1, 0.5, 0, 2], [5, 1])),
      ],
    },
  ],
};
