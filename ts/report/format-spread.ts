import type { Spread } from './summarize.js';

/** Shown where there is no value. */
export const NONE = '–';

/** `mean ± sd`, each times `scale`, or the mean alone for a single seed; a dash when there is no value. */
export function formatSpread(spread: Spread | undefined, scale = 1, digits = 2): string {
  if (!spread) return NONE;
  const mean = fixed(spread.mean * scale, digits);
  return spread.sd === undefined ? mean : `${mean} ± ${fixed(spread.sd * scale, digits)}`;
}

/** Fixed digits without '-0.00'; a dash for NaN and infinities. */
export function fixed(value: number, digits: number): string {
  if (!Number.isFinite(value)) return NONE;
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text;
}
