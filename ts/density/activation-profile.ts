import type { RaggedBatch } from '../data/batching.js';
import type { MlpObservation } from '../nn/forward-context.js';
import type { Tensor } from '../tensor/tensor.js';

/** What a profile measures besides exact non-zeros. */
export interface ProfileOptions {
  /** Magnitudes above which an activation counts in `thresholded`; default 0.01, 0.1. */
  thresholds?: readonly number[] | undefined;
  /** Ids whose tokens are counted apart, e.g. the tokenizer's special tokens; default none. */
  specialTokenIds?: readonly number[] | undefined;
}

/** One MLP's activations over all tokens that were seen. */
export interface LayerProfile {
  name: string;
  side: 'encoder' | 'decoder';
  /** Tokens seen: all, or those that the layer computed where the head needs no others. */
  tokens: number;
  dFf: number;
  /** Share of exact non-zeros, 0 to 1. */
  density: number;
  /** Share of magnitudes above each threshold. */
  thresholded: { threshold: number; density: number }[];
  /** Density over special tokens and over the others; undefined where there were none, or where tokens are not known. */
  specialTokens?: number | undefined;
  otherTokens?: number | undefined;
  /** Density by position in the sequence (0: its first token); empty where positions are not known. */
  byPosition: number[];
  /** Neurons that were never, and always, different from zero. */
  deadNeurons: number;
  alwaysOnNeurons: number;
  /** Density of each neuron, 0 (dead) to 1 (always on), in the layer's order. */
  neuronDensity: Float32Array;
}

/** Multiply-adds of the down-projections, which zeros of their input make needless. */
export interface SkippedWork {
  /** Multiply-adds of all MLPs, up- and down-projections together. */
  mlp: number;
  /** Those of the down-projections whose input is zero. */
  skipped: number;
  /**
   * Energy of the MLPs on an accelerator that gates multiply-adds with a zero operand, over that of one that does not: executed / all multiply-adds.
   * It counts a multiply-add and the reads of its operands as one unit of energy, as the zero-gating of Eyeriss saves both (Chen, Emer and
   * Sze 2016); memory traffic that the sparsity does not change is left out, so that this is a lower bound of the ratio.
   */
  energyRatio: number;
}

interface Counts {
  side: LayerProfile['side'];
  tokens: number;
  dFf: number;
  nonzeros: Uint32Array;
  above: number[];
  special: Share;
  other: Share;
  positions: Share[];
}

interface Share {
  nonzeros: number;
  tokens: number;
}

/** Counts, layer by layer, what is different from zero. Give it each batch with the observations of its forward pass. */
export class ActivationProfile {
  private readonly layers = new Map<string, Counts>();
  private readonly thresholds: readonly number[];
  private readonly special: ReadonlySet<number>;

  constructor({ thresholds = [0.01, 0.1], specialTokenIds = [] }: ProfileOptions = {}) {
    this.thresholds = thresholds;
    this.special = new Set(specialTokenIds);
  }

  /** Adds one forward pass; its tensors must still be there. */
  add(mlps: readonly MlpObservation[], batch: RaggedBatch): void {
    for (const { name, side, out } of mlps) {
      const { rows, cols } = out;
      const counts = this.layers.get(name) ?? newCounts(side, cols, this.thresholds.length);
      this.layers.set(name, counts);
      const { ids, positions } = tokensOf(batch, side, rows);
      const values = denseValues(out);
      for (let row = 0; row < rows; row++) this.addRow(counts, values, row, ids?.[row], positions?.[row]);
    }
  }

  private addRow(counts: Counts, values: Float32Array, row: number, id?: number, position?: number): void {
    const { dFf, nonzeros, above } = counts;
    let found = 0;
    for (let neuron = 0; neuron < dFf; neuron++) {
      const value = values[row * dFf + neuron] as number;
      if (value === 0) continue;
      found += 1;
      nonzeros[neuron] = (nonzeros[neuron] as number) + 1;
      for (const [index, threshold] of this.thresholds.entries()) {
        if (Math.abs(value) > threshold) above[index] = (above[index] as number) + 1;
      }
    }
    counts.tokens += 1;
    const kind = id === undefined ? undefined : this.special.has(id) ? counts.special : counts.other;
    const place = position === undefined ? undefined : (counts.positions[position] ??= { nonzeros: 0, tokens: 0 });
    for (const share of [kind, place]) {
      if (!share) continue;
      share.nonzeros += found;
      share.tokens += 1;
    }
  }

  /** The layers, in the model's order. */
  perLayer(): LayerProfile[] {
    return [...this.layers].map(([name, counts]) => {
      const { side, tokens, dFf, nonzeros, above, special, other, positions } = counts;
      const elements = tokens * dFf;
      const share = (part: Share): number | undefined =>
        part.tokens === 0 ? undefined : part.nonzeros / (part.tokens * dFf);
      return {
        ...{ name, side, tokens, dFf },
        density: nonzeros.reduce((sum, count) => sum + count, 0) / elements,
        thresholded: this.thresholds.map((threshold, index) => ({
          threshold,
          density: (above[index] as number) / elements,
        })),
        specialTokens: share(special),
        otherTokens: share(other),
        byPosition: Array.from(positions, (part) => share(part) ?? Number.NaN),
        deadNeurons: nonzeros.filter((count) => count === 0).length,
        alwaysOnNeurons: nonzeros.filter((count) => count === tokens).length,
        neuronDensity: Float32Array.from(nonzeros, (count) => count / tokens),
      };
    });
  }

  /** @param hiddenSize d, the width that the down-projections go to; MLPs have one up-projection, `upProjections` where gated */
  skippedWork(hiddenSize: number, upProjections = 1): SkippedWork {
    let [mlp, skipped] = [0, 0];
    for (const { tokens, dFf, density } of this.perLayer()) {
      const projection = tokens * dFf * hiddenSize;
      mlp += (1 + upProjections) * projection;
      skipped += projection - density * projection;
    }
    return { mlp, skipped, energyRatio: (mlp - skipped) / mlp };
  }
}

function newCounts(side: Counts['side'], dFf: number, thresholds: number): Counts {
  return {
    ...{ side, tokens: 0, dFf, nonzeros: new Uint32Array(dFf) },
    above: new Array<number>(thresholds).fill(0),
    special: { nonzeros: 0, tokens: 0 },
    other: { nonzeros: 0, tokens: 0 },
    positions: [],
  };
}

function denseValues(out: Tensor): Float32Array {
  const { backend } = out;
  const dense = backend.toDense(out.handle);
  const values = backend.readF32(dense);
  backend.free(dense);
  return values;
}

/** Ids and positions of an MLP's rows, as far as they are known: a last layer may have computed fewer rows than there are tokens. */
function tokensOf(
  batch: RaggedBatch,
  side: 'encoder' | 'decoder',
  rows: number,
): { ids?: Int32Array; positions?: ArrayLike<number> } {
  // A model with a decoder alone calls it its only side.
  const source = side === 'decoder' && batch.decoder ? batch.decoder : batch;
  if (source.inputIds.length === rows) return { ids: source.inputIds, positions: source.positionIds };
  // Images have as many patches each.
  if (batch.pixelValues && rows % batch.size === 0) {
    const each = rows / batch.size;
    return { positions: Array.from({ length: rows }, (_, row) => row % each) };
  }
  return {};
}
