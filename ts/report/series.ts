import type { RunResult, RunVariant } from './compare-result.js';

/** The runs that differ by their seed alone. */
export interface Series {
  /** `PEFT`, `DEFT`, or of several alphas `DEFT, alpha 0.03`. */
  name: string;
  variant: RunVariant;
  /** Of the density loss, where it was given. */
  alpha: number | undefined;
  runs: RunResult[];
}

/** The runs by variant and alpha: PEFT, then DEFT in the order in which its alphas come. */
export function seriesOf(runs: readonly RunResult[]): Series[] {
  const ofPeft = runs.filter(({ variant }) => variant === 'PEFT');
  const ofDeft = runs.filter(({ variant }) => variant === 'DEFT');
  const alphas = [...new Set(ofDeft.map(({ alpha }) => alpha))];
  return [
    ...(ofPeft.length > 0 ? [{ name: 'PEFT', variant: 'PEFT' as const, alpha: undefined, runs: ofPeft }] : []),
    ...alphas.map((alpha) => ({
      name: alphas.length > 1 ? `DEFT, alpha ${alpha ?? 'by default'}` : 'DEFT',
      variant: 'DEFT' as const,
      alpha,
      runs: ofDeft.filter((run) => run.alpha === alpha),
    })),
  ];
}

/** A run's name in warnings and tooltips. @param several whether DEFT has several alphas */
export function runName({ variant, seed, alpha }: RunResult, several: boolean): string {
  return `${variant}${several && variant === 'DEFT' ? `, alpha ${alpha ?? 'by default'}` : ''}, seed ${seed}`;
}
