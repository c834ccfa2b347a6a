import type { MlpObservation } from '../nn/forward-context.js';

/** Adds up exact non-zeros over batches: density is their share over real tokens, by layer, then averaged over layers. */
export class DensityMeter {
  private readonly layers = new Map<string, { side: Side; nonzeros: number; elements: number }>();

  add(mlps: readonly MlpObservation[]): void {
    for (const { name, side, out, nonzeros } of mlps) {
      const layer = this.layers.get(name) ?? { side, nonzeros: 0, elements: 0 };
      layer.nonzeros += nonzeros ?? out.backend.nonzeros(out.handle);
      layer.elements += out.size;
      this.layers.set(name, layer);
    }
  }

  /** Density (0 to 1) by layer, in the model's order. */
  perLayer(): { name: string; density: number }[] {
    return [...this.layers].map(([name, { nonzeros, elements }]) => ({ name, density: nonzeros / elements }));
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
    return layers.reduce((sum, { nonzeros, elements }) => sum + nonzeros / elements, 0) / layers.length;
  }
}

type Side = MlpObservation['side'];

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
