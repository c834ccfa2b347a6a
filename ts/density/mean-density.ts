import type { MlpObservation, SkippedMlp } from '../nn/forward-context.js';

/** One layer's density. */
export interface LayerDensity {
  name: string;
  /** 0 to 1; 0 where it was skipped. */
  density: number;
  /** Whether its MLP was skipped. */
  skipped?: true;
}

/**
 * Adds up exact non-zeros over batches: density is their share over real tokens, by layer, then averaged over layers. An MLP that is skipped
 * has none.
 */
export class DensityMeter {
  private readonly layers = new Map<string, { side: Side; nonzeros: number; elements: number }>();

  /** @param skipped the MLPs that the pass left out */
  add(mlps: readonly MlpObservation[], skipped: readonly SkippedMlp[] = []): void {
    for (const [index, { name, side, out, nonzeros }] of mlps.entries()) {
      this.addSkipped(skipped, index);
      const layer = this.layers.get(name) ?? { side, nonzeros: 0, elements: 0 };
      layer.nonzeros += nonzeros ?? out.backend.nonzeros(out.handle);
      layer.elements += out.size;
      this.layers.set(name, layer);
    }
    this.addSkipped(skipped, mlps.length);
  }

  /** In the model's order: those that come after so many others. */
  private addSkipped(skipped: readonly SkippedMlp[], after: number): void {
    for (const mlp of skipped) {
      if (mlp.after !== after || this.layers.has(mlp.name)) continue;
      this.layers.set(mlp.name, { side: mlp.side, nonzeros: 0, elements: 0 });
    }
  }

  /** Density (0 to 1) by layer, in the model's order. */
  perLayer(): LayerDensity[] {
    return [...this.layers].map(([name, layer]) => ({
      name,
      density: densityOf(layer),
      ...(layer.elements === 0 ? { skipped: true as const } : {}),
    }));
  }

  /** Mean over the layers, and over those of the encoder and of the decoder where a model has both. */
  summary(): DensitySummary {
    const [encoder, decoder] = [this.mean('encoder'), this.mean('decoder')];
    const both = !Number.isNaN(encoder) && !Number.isNaN(decoder);
    return { density: this.mean(), ...(both ? { encoderDensity: encoder, decoderDensity: decoder } : {}) };
  }

  /** Mean over the layers, or those of one side; NaN where nothing was seen. */
  mean(side?: Side): number {
    const layers = [...this.layers.values()].filter((layer) => side === undefined || layer.side === side);
    return layers.reduce((sum, layer) => sum + densityOf(layer), 0) / layers.length;
  }
}

type Side = MlpObservation['side'];

const densityOf = ({ nonzeros, elements }: { nonzeros: number; elements: number }): number =>
  elements === 0 ? 0 : nonzeros / elements;

/** Densities (0 to 1) averaged over layers. */
export interface DensitySummary {
  density: number;
  /** Of an encoder-decoder's encoder. */
  encoderDensity?: number | undefined;
  /** Of an encoder-decoder's decoder. */
  decoderDensity?: number | undefined;
}

/** Densities of one forward pass. */
export function densitySummary(mlps: readonly MlpObservation[]): DensitySummary {
  const meter = new DensityMeter();
  meter.add(mlps);
  return meter.summary();
}

/** Density of one forward pass. */
export function meanDensity(mlps: readonly MlpObservation[]): number {
  return densitySummary(mlps).density;
}

/** Density Change (%) = (PEFT - DEFT) / PEFT · 100. */
export function densityChange(peft: number, deft: number): number {
  return ((peft - deft) / peft) * 100;
}
