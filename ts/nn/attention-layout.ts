import type { Backend } from '../backend/backend.js';
import { Tensor } from '../tensor/tensor.js';
import type { KeyValueCache } from './key-value-cache.js';

/** Where sequences begin in the queries and in the keys of one pass of self-attention, and the keys of earlier passes. */
export class AttentionLayout {
  readonly cuQ: Tensor;
  readonly cuK: Tensor;

  /**
   * @param cuSeqlens offsets of the pass's tokens
   * @param cache where the tokens follow others, which were read before
   */
  constructor(
    backend: Backend,
    cuSeqlens: Int32Array,
    private readonly cache?: KeyValueCache,
  ) {
    this.cuQ = Tensor.fromInts(backend, cuSeqlens);
    this.cuK = cache ? Tensor.fromInts(backend, cache.extend(cuSeqlens)) : this.cuQ;
  }

  /** Keys and values of a layer: those given, behind the ones of earlier passes. @param layer its number, from 0 */
  keysAndValues(layer: number, keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] {
    return this.cache ? this.cache.append(layer, keys, values) : [keys, values];
  }
}
