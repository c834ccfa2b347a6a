const NONE = '–';

/** A share of 0..1 as a percentage: 0.1234 → '12.3 %'. */
export function formatPercent(share: number, digits = 1): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(digits)} %` : NONE;
}

/** A metric: shares as percentages, what is larger than 1 (a perplexity) as it is. */
export function formatMetric(value: number): string {
  return value > 1 ? formatNumber(value) : formatPercent(value, 2);
}

/** A duration: 0.42 → '0.4 s', 65 → '1 m 05 s', 3725 → '1 h 02 m'. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return NONE;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`;
}

/** A count, rounded, with thousands separators: 1234567 → '1,234,567'. */
export function formatCount(count: number): string {
  if (!Number.isFinite(count)) return NONE;
  return Math.round(count).toLocaleString('en-US');
}

/** A loss or similar number in four significant digits: 0.69314 → '0.6931'. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return value.toPrecision(4);
}
