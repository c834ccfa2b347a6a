import type { DensitySummary } from '../../density/mean-density.js';
import { formatPercent } from './format.js';

/** `density 12.34 %`, for an encoder-decoder with the densities of both. */
export function describeDensity({ density, encoderDensity, decoderDensity }: DensitySummary): string {
  const mean = `density ${formatPercent(density, 2)}`;
  if (encoderDensity === undefined || decoderDensity === undefined) return mean;
  return `${mean} (encoder ${formatPercent(encoderDensity, 2)}, decoder ${formatPercent(decoderDensity, 2)})`;
}
