import type { Backend } from '../backend/backend.js';
import { concatSequences } from '../ops/concat-sequences.js';
import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';

/** The keys and values of the tokens read so far, layer by layer, for sequences that each have a length of their own. */
export class KeyValueCache {
  private readonly layers: (readonly [keys: Tensor, values: Tensor])[] = [];
  private lengths: number[];
  private cuCached: Tensor | undefined;
  private cuNew: Tensor | undefined;

  constructor(
    private readonly backend: Backend,
    sequences: number,
  ) {
    this.lengths = new Array<number>(sequences).fill(0);
  }

  /** Whether nothing was read so far. */
  get isEmpty(): boolean {
    return this.layers.length === 0;
  }

  /** Tokens read so far, virtual ones included, by sequence: the position of the next. */
  get tokens(): readonly number[] {
    return this.lengths;
  }

  /**
   * Begins a pass over new tokens.
   *
   * @param cuSeqlens offsets of the new tokens; at least one for each sequence
   * @returns offsets of all keys, those of the new tokens included
   */
  extend(cuSeqlens: Int32Array): Int32Array {
    this.cuCached = Tensor.fromInts(this.backend, offsetsOf(this.lengths));
    this.cuNew = Tensor.fromInts(this.backend, cuSeqlens);
    this.lengths = this.lengths.map(
      (length, index) => length + (cuSeqlens[index + 1] as number) - (cuSeqlens[index] as number),
    );
    return offsetsOf(this.lengths);
  }

  /**
   * Keeps a layer's keys and values of the new tokens.
   *
   * @param layer its number, from 0
   * @param keys [new tokens, d]
   * @param values [new tokens, d]
   * @returns those of all tokens, laid out as {@link KeyValueCache.extend} says
   */
  append(layer: number, keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] {
    const { cuCached, cuNew } = this;
    const before = this.layers[layer];
    if (!before || !cuCached || !cuNew) return this.keep(layer, [keys, values]);
    return this.keep(layer, [
      concatSequences(before[0], keys, cuCached, cuNew),
      concatSequences(before[1], values, cuCached, cuNew),
    ]);
  }

  /** From here on sequence i continues what sequence `origins[i]` was: some are repeated, others left out. */
  select(origins: readonly number[]): void {
    if (origins.length === this.lengths.length && origins.every((origin, index) => origin === index)) return;
    const starts = offsetsOf(this.lengths);
    const rows = origins.flatMap((origin) =>
      Array.from({ length: this.lengths[origin] as number }, (_, row) => (starts[origin] as number) + row),
    );
    const ids = Tensor.fromInts(this.backend, rows);
    this.layers.forEach(([keys, values], layer) => {
      this.keep(layer, [gatherRows(keys, ids), gatherRows(values, ids)]);
    });
    ids.dispose();
    this.lengths = origins.map((origin) => this.lengths[origin] as number);
  }

  dispose(): void {
    for (const layer of this.layers) for (const tensor of layer) tensor.dispose();
    this.layers.length = 0;
  }

  /** Moves tensors out of the scope they were made in; what was kept for the layer before is freed. */
  private keep(layer: number, entry: readonly [Tensor, Tensor]): readonly [Tensor, Tensor] {
    for (const tensor of entry) this.backend.keep(tensor.handle, 0);
    for (const tensor of this.layers[layer] ?? []) tensor.dispose();
    this.layers[layer] = entry;
    return entry;
  }
}

/** Where sequences of these lengths begin when they are laid end to end. */
export function offsetsOf(lengths: readonly number[]): Int32Array {
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, index) => (offsets[index + 1] = (offsets[index] as number) + length));
  return offsets;
}
