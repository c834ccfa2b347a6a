import type { CompareResult, RunResult, RunVariant } from './compare-result.js';
import { densityChange } from '../density/mean-density.js';
import { runName } from './series.js';

const DENSITIES = ['density', 'encoderDensity', 'decoderDensity'] as const;

/** What a summary needs of a comparison. */
type Runs = Pick<CompareResult, 'runs'>;

/** Mean and sample standard deviation of `n` finite values. */
export interface Spread {
  n: number;
  mean: number;
  /** Sample standard deviation (n − 1); undefined for a single value. */
  sd: number | undefined;
}

/** One variant over its seeds; a field is undefined when no run gave a finite value. */
export interface VariantSummary {
  variant: RunVariant;
  seeds: number[];
  metric: Spread | undefined;
  /** Of the validation sets after the first, in their order. */
  otherMetrics: (Spread | undefined)[];
  density: Spread | undefined;
  /** Of an encoder-decoder's two sides. */
  encoderDensity: Spread | undefined;
  decoderDensity: Spread | undefined;
  /** How many MLPs were skipped. */
  skippedMlps: Spread | undefined;
  seconds: Spread | undefined;
}

export interface CompareSummary {
  metricName: string;
  /** Undefined when the comparison has no run of that variant. */
  peft: VariantSummary | undefined;
  deft: VariantSummary | undefined;
  /** Seeds that both variants ran. */
  pairedSeeds: number[];
  /**
   * (PEFT − DEFT) / PEFT · 100 per paired seed: positive when DEFT is sparser. Seeds whose PEFT density
   * is 0 are left out; undefined when none is left.
   */
  densityChange: Spread | undefined;
  /** The same of an encoder-decoder's two sides. */
  encoderChange: Spread | undefined;
  decoderChange: Spread | undefined;
  /** (DEFT − PEFT) · 100 per paired seed: positive when DEFT scores higher. */
  metricPoints: Spread | undefined;
}

/** Mean and sample standard deviation of the finite values; undefined when there are none. */
export function spread(values: readonly number[]): Spread | undefined {
  const finite = values.filter((v) => Number.isFinite(v));
  const n = finite.length;
  if (n === 0) return undefined;
  const mean = finite.reduce((sum, v) => sum + v, 0) / n;
  if (n === 1) return { n, mean, sd: undefined };
  const squares = finite.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { n, mean, sd: Math.sqrt(squares / (n - 1)) };
}

function summarizeVariant(variant: RunVariant, all: readonly RunResult[]): VariantSummary | undefined {
  const runs = all.filter((r) => r.variant === variant);
  if (runs.length === 0) return undefined;
  return {
    variant,
    seeds: runs.map((r) => r.seed),
    metric: spread(runs.map((r) => r.metric)),
    otherMetrics: (runs[0]?.otherSets ?? []).map((_, set) =>
      spread(runs.map((r) => r.otherSets?.[set]?.metric ?? Number.NaN)),
    ),
    density: spread(runs.map((r) => r.density)),
    encoderDensity: spread(runs.flatMap((r) => r.encoderDensity ?? [])),
    decoderDensity: spread(runs.flatMap((r) => r.decoderDensity ?? [])),
    skippedMlps: spread(runs.map((r) => r.skippedMlps?.length ?? 0)),
    seconds: spread(runs.map((r) => r.seconds)),
  };
}

/** The alphas of DEFT, each once, in the order of the runs. */
export function alphasOf(runs: readonly RunResult[]): (number | undefined)[] {
  return [...new Set(runs.flatMap(({ variant, alpha }) => (variant === 'DEFT' ? [alpha] : [])))];
}

/** The runs of PEFT with those of one alpha of DEFT. */
export function withAlpha({ runs }: Runs, alpha: number | undefined): { runs: RunResult[] } {
  return { runs: runs.filter((run) => run.variant === 'PEFT' || run.alpha === alpha) };
}

/**
 * Summarizes a comparison: each variant over its seeds, and the differences paired by seed. Of a sweep over alpha give it the runs of one
 * alpha: {@link withAlpha}.
 */
export function summarize(result: Runs): CompareSummary {
  const pairedSeeds: number[] = [];
  const points: number[] = [];
  const changes = new Map(DENSITIES.map((of) => [of, [] as number[]]));
  for (const peft of result.runs) {
    if (peft.variant !== 'PEFT' || pairedSeeds.includes(peft.seed)) continue;
    const deft = result.runs.find((r) => r.variant === 'DEFT' && r.seed === peft.seed);
    if (!deft) continue;
    pairedSeeds.push(peft.seed);
    for (const [of, list] of changes) {
      const [before, after] = [peft[of] ?? 0, deft[of] ?? 0];
      // A density of 0 leaves nothing to reduce: 0/0 and x/0 say nothing about DEFT.
      if (before > 0) list.push(densityChange(before, after));
    }
    points.push((deft.metric - peft.metric) * 100);
  }
  return {
    metricName: result.runs[0]?.metricName ?? 'metric',
    peft: summarizeVariant('PEFT', result.runs),
    deft: summarizeVariant('DEFT', result.runs),
    pairedSeeds,
    densityChange: spread(changes.get('density') ?? []),
    encoderChange: spread(changes.get('encoderDensity') ?? []),
    decoderChange: spread(changes.get('decoderDensity') ?? []),
    metricPoints: spread(points),
  };
}

/** Every warning of every run, prefixed by its run, and those about the comparison itself. */
export function collectWarnings(result: Runs): string[] {
  const summary = summarize(result);
  const warnings: string[] = [];
  const several = alphasOf(result.runs).length > 1;
  if (!summary.peft) warnings.push('No PEFT run: there is nothing to compare DEFT with.');
  if (!summary.deft) warnings.push('No DEFT run: there is nothing to compare PEFT with.');
  if (summary.peft && summary.deft) {
    const unpaired = [...new Set(result.runs.map((r) => r.seed))].filter((s) => !summary.pairedSeeds.includes(s));
    if (unpaired.length > 0)
      warnings.push(`Only one variant ran with seed ${unpaired.join(', ')}: left out of the paired differences.`);
  }
  for (const run of result.runs) {
    const name = runName(run, several);
    for (const warning of run.warnings) warnings.push(`${name}: ${warning}`);
    if (!Number.isFinite(run.metric)) warnings.push(`${name}: ${run.metricName} is not a number.`);
    if (!Number.isFinite(run.density)) warnings.push(`${name}: density is not a number.`);
    if (run.variant === 'PEFT' && run.density === 0)
      warnings.push(`${name}: the density is 0, so its density change is undefined and left out.`);
  }
  return warnings;
}
