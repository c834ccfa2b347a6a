import type { LayerGateSettings } from '../peft/layer-gates.js';
import type { RunOptions } from './options.js';

/** What the command line says of the gates on the MLPs. */
export function gateSettings({
  skipThreshold,
  gatePenalty: penalty,
  gateRate: rate,
}: Pick<RunOptions, 'skipThreshold' | 'gatePenalty' | 'gateRate'>): Partial<LayerGateSettings> {
  const given = { skipThreshold, penalty, rate };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** Options that only gates read. */
export const GATE_OPTIONS = ['skipThreshold', 'gatePenalty', 'gateRate'] as const;
