import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';

/** The hidden states that the head is asked about: `outputRows`, or all. */
export function headRows(hiddenStates: Tensor, { outputRows }: { outputRows?: Int32Array | undefined }): Tensor {
  return outputRows ? gatherRows(hiddenStates, Tensor.fromInts(hiddenStates.backend, outputRows)) : hiddenStates;
}
