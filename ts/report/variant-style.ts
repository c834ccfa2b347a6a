import type { RunVariant } from './compare-result.js';

/** Colour, dash and symbol of a variant: each tells it from the other on its own. */
export const VARIANT_STYLE: Record<
  RunVariant,
  { color: string; dash: string; symbol: 'circle' | 'triangle'; stripes: boolean }
> = {
  PEFT: { color: 'var(--peft)', dash: 'none', symbol: 'circle', stripes: false },
  DEFT: { color: 'var(--deft)', dash: '6 3', symbol: 'triangle', stripes: true },
};
