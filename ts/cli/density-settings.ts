import type { DensityBudget } from '../density/density-controller.js';
import type { DensityLossOptions } from '../density/density-loss.js';
import type { RunOptions } from './options.js';

/** The density loss of a run, and the budget that finds its alpha where there is one. */
export interface DensitySettings {
  loss: DensityLossOptions;
  budget?: DensityBudget | undefined;
}

/** Where the search for alpha starts when nothing else is said. */
const FIRST_ALPHA = 0.03;

/** What the command line says of the density loss. */
export function densitySettings(options: RunOptions, loss: DensityLossOptions['loss']): DensitySettings {
  const { alpha, alphaScheduler, alphaWarmup, layerWeights, encoderWeight, decoderWeight, beta, eps } = options;
  const { hingeMargin: margin, hingeTop: top } = options;
  const budget = densityBudget(options);
  return {
    loss: {
      ...{ loss, form: options.densityForm, alpha: alpha ?? (budget && FIRST_ALPHA), beta, eps },
      ...{ alphaScheduler, alphaWarmup, layerWeights, encoderWeight, decoderWeight, margin, top },
    },
    budget,
  };
}

/** The budget, where the command line has one. */
export function densityBudget(options: RunOptions): DensityBudget | undefined {
  const { maxMetricDrop, targetDensity, referenceMetric } = options;
  if (maxMetricDrop === undefined && targetDensity === undefined) return undefined;
  return { maxMetricDrop, targetDensity, reference: referenceMetric && referenceMetric / 100 };
}

/** Options that only a density loss reads. */
export const DENSITY_OPTIONS = [
  ...(['alpha', 'alphaScheduler', 'alphaWarmup', 'layerWeights', 'encoderWeight', 'decoderWeight'] as const),
  ...(['beta', 'eps', 'densityForm', 'hingeMargin', 'hingeTop'] as const),
] as const;

/** Options of a budget. */
export const BUDGET_OPTIONS = ['maxMetricDrop', 'targetDensity', 'referenceMetric'] as const;

/** A budget's drop is counted from the plain run of the same seed, unless the command says from what. */
export function withReference(settings: DensitySettings, reference: number | undefined): DensitySettings {
  const { budget } = settings;
  return budget ? { ...settings, budget: { ...budget, reference: budget.reference ?? reference } } : settings;
}
