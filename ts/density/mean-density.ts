import type { MlpObservation } from '../nn/forward-context.js';

/** Adds up exact non-zeros over batches: density is their share over real tokens, by layer, then averaged over layers. */
export class DensityMeter {
  private readonly layers = new Map<string, { nonzeros: number; elements: number }>();

  add(mlps: readonly MlpObservation[]): void {
    for (const { name, out } of mlps) {
      const layer = this.layers.get(name) ?? { nonzeros: 0, elements: 0 };
      layer.nonzeros += out.backend.nonzeros(out.handle);
      layer.elements += out.size;
      this.layers.set(name, layer);
    }
  }

  /** Density (0 to 1) by layer, in the model's order. */
  perLayer(): { name: string; density: number }[] {
    return [...this.layers].map(([name, { nonzeros, elements }]) => ({ name, density: nonzeros / elements }));
  }

  /** Mean over the layers; NaN where nothing was seen. */
  mean(): number {
    const layers = this.perLayer();
    return layers.reduce((sum, { density }) => sum + density, 0) / layers.length;
  }
}

/** Density of one forward pass. */
export function meanDensity(mlps: readonly MlpObservation[]): number {
  const meter = new DensityMeter();
  meter.add(mlps);
  return meter.mean();
}

/** Density Change (%) = (PEFT - DEFT) / PEFT · 100. */
export function densityChange(peft: number, deft: number): number {
  return ((peft - deft) / peft) * 100;
}
