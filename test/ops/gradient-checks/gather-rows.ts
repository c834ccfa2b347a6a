import * as ops from '../../../ts/ops/index.js';
import { uniform, type GradientChecks } from '../gradient-check.js';
import { ints, pick } from './case-inputs.js';

export const GATHER_ROWS: GradientChecks = {
  gatherRows: [
    {
      title: 'rows taken once, several times and never',
      inputs: { table: uniform([6, 3], 20) },
      run: (backend, inputs) => [ops.gatherRows(pick(inputs, 'table'), ints(backend, [4, 0, 4, 5, 4]))],
    },
  ],
};
