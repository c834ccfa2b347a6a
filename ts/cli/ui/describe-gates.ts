import type { LayerDensity } from '../../density/mean-density.js';
import { closedLayers, type StoredGates } from '../../peft/layer-gates.js';

/** `gates: encoder.layer.0 0.93, encoder.layer.1 0.00 (skipped)` */
export function describeGates(gates: StoredGates): string {
  const closed = closedLayers(gates);
  const layers = Object.entries(gates.theta).map(([name, theta]) => {
    const openness = Math.min(1, Math.max(0, theta));
    return `${name} ${openness.toFixed(2)}${closed.includes(name) ? ' (skipped)' : ''}`;
  });
  return `gates: ${layers.join(', ')}`;
}

/** `2 of 6 MLPs skipped (encoder.layer.1, encoder.layer.4)`; undefined where all were run. */
export function describeSkipped(layers: readonly LayerDensity[]): string | undefined {
  const skipped = layers.filter((layer) => layer.skipped).map(({ name }) => name);
  if (skipped.length === 0) return undefined;
  return `${skipped.length} of ${layers.length} MLPs skipped (${skipped.join(', ')})`;
}
