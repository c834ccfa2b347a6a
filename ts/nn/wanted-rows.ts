import { gatherRows } from '../ops/gather-rows.js';
import type { Tensor } from '../tensor/tensor.js';

/** Those rows of x that are wanted [rows, d]. @param rows their numbers; default all */
export function wantedRows(x: Tensor, rows: Tensor | undefined): Tensor {
  return rows ? gatherRows(x, rows) : x;
}
