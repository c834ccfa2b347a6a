import type { Backend } from '../backend/backend.js';
import { prependRows } from '../ops/concat-sequences.js';
import { Tensor } from '../tensor/tensor.js';
import type { KeyValueCache } from './key-value-cache.js';

/** What stands before the tokens of a pass. */
export interface EarlierKeys {
  /** Where the tokens follow others, which were read before. */
  cache?: KeyValueCache | undefined;
  /** Keys and values [rows, width] before those of every sequence, by layer. */
  virtual?: readonly (readonly [keys: Tensor, values: Tensor])[] | undefined;
}

/** Where sequences begin in the queries and in the keys of one pass of self-attention, and the keys before them. */
export class AttentionLayout {
  readonly cuQ: Tensor;
  readonly cuK: Tensor;
  private readonly cache: KeyValueCache | undefined;
  private readonly virtual: EarlierKeys['virtual'];

  /** @param cuSeqlens offsets of the pass's tokens */
  constructor(backend: Backend, cuSeqlens: Int32Array, { cache, virtual }: EarlierKeys = {}) {
    this.cache = cache;
    // Later passes find the virtual keys in the cache.
    this.virtual = cache && !cache.isEmpty ? undefined : virtual;
    const count = this.virtual?.[0]?.[0].rows ?? 0;
    const withVirtual = count === 0 ? cuSeqlens : cuSeqlens.map((offset, sequence) => offset + count * sequence);
    this.cuQ = Tensor.fromInts(backend, cuSeqlens);
    this.cuK =
      cache || count > 0 ? Tensor.fromInts(backend, cache ? cache.extend(withVirtual) : withVirtual) : this.cuQ;
  }

  /** As {@link AttentionLayout.cuQ} for one query a sequence. */
  cuOne(): Tensor {
    return Tensor.fromInts(
      this.cuQ.backend,
      Int32Array.from({ length: this.cuQ.size }, (_, sequence) => sequence),
    );
  }

  /** Tensors made for this pass that the layers' gradients flow into. */
  get inputs(): readonly Tensor[] {
    return this.virtual?.flat() ?? [];
  }

  /** Keys and values of a layer: those given, behind the virtual ones and those of earlier passes. @param layer its number, from 0 */
  keysAndValues(layer: number, keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] {
    const virtual = this.virtual?.[layer];
    const own = virtual
      ? ([prependRows(virtual[0], keys, this.cuQ), prependRows(virtual[1], values, this.cuQ)] as const)
      : ([keys, values] as const);
    return this.cache ? this.cache.append(layer, ...own) : own;
  }
}
