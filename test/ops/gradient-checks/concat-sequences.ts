import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { ints, pick } from './case-inputs.js';

export const CONCAT_SEQUENCES: GradientChecks = {
  concatSequences: [
    {
      title: 'one sequence empty in front',
      inputs: { a: uniform([5, 3], 164), b: uniform([6, 3], 165) },
      run: (backend, inputs) => [
        ops.concatSequences(
          pick(inputs, 'a'),
          pick(inputs, 'b'),
          ints(backend, [0, 2, 2, 5]),
          ints(backend, [0, 1, 4, 6]),
        ),
      ],
    },
  ],
  prependRows: [
    {
      title: 'two rows before three sequences',
      inputs: { prefix: uniform([2, 5], 166), x: uniform([7, 5], 167) },
      run: (backend, inputs) => [
        ops.prependRows(pick(inputs, 'prefix'), pick(inputs, 'x'), ints(backend, [0, 3, 4, 7])),
      ],
    },
    {
      title: 'virtual keys and values in causal attention',
      inputs: {
        x: uniform([5, 4], 168),
        prefixKeys: uniform([3, 4], 169),
        prefixValues: uniform([3, 4], 170),
      },
      run: (backend, inputs) => {
        const x = pick(inputs, 'x');
        const cu = ints(backend, [0, 2, 5]);
        const k = ops.prependRows(pick(inputs, 'prefixKeys'), x, cu);
        const v = ops.prependRows(pick(inputs, 'prefixValues'), x, cu);
        return [ops.attention(x, k, v, cu, ints(backend, [0, 5, 11]), { heads: 2, scale: 0.7, causal: true })];
      },
    },
  ],
};
