import { gatherRows } from '../ops/gather-rows.js';
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';
import type { Parameter } from './parameter.js';

/** Rows of a table [vocabulary, d] by id. */
export class Embedding extends Module {
  constructor(readonly weight: Parameter) {
    super();
  }

  forward(ids: Tensor): Tensor {
    return gatherRows(this.weight, ids);
  }
}
