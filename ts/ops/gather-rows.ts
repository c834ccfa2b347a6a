import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** Rows of `table` [rows, d] by number: an embedding, or the pooled tokens of a batch. Returns [ids, d]. */
export function gatherRows(table: Tensor, ids: Tensor): Tensor {
  const { backend } = table;
  const out = backend.gatherRows(table.handle, ids.handle);
  return recordOne('gatherRows', backend, [table], out, [ids.size, table.cols], (dy) => [
    backend.scatterAddRows(dy, ids.handle, table.rows),
  ]);
}
