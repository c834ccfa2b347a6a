import type { RaggedBatch } from '../data/batching.js';
import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';

/** The hidden states that the head is asked about: the batch's `outputRows`, or all. */
export function headRows(hiddenStates: Tensor, { outputRows }: RaggedBatch): Tensor {
  return outputRows ? gatherRows(hiddenStates, Tensor.fromInts(hiddenStates.backend, outputRows)) : hiddenStates;
}
