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

/** Evaluations of a run with a budget, as a share of its steps, when nothing else is said. */
const BUDGET_EVAL_STEPS = 0.04;

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
export function densityBudget({ maxMetricDrop, targetDensity }: Partial<RunOptions>): DensityBudget | undefined {
  return maxMetricDrop === undefined && targetDensity === undefined ? undefined : { maxMetricDrop, targetDensity };
}

/** Options that only a density loss reads. */
export const DENSITY_OPTIONS = [
  ...(['alpha', 'alphaScheduler', 'alphaWarmup', 'layerWeights', 'encoderWeight', 'decoderWeight'] as const),
  ...(['beta', 'eps', 'densityForm', 'hingeMargin', 'hingeTop'] as const),
] as const;

/** Options of a budget. */
export const BUDGET_OPTIONS = ['maxMetricDrop', 'targetDensity'] as const;

/** How often a run with a budget evaluates where nothing is said; of a comparison the plain ones too, as the drop is counted from them. */
export function budgetEvaluations(options: Partial<RunOptions>): Pick<RunOptions, 'evalSteps'> {
  return densityBudget(options) ? { evalSteps: options.evalSteps ?? BUDGET_EVAL_STEPS } : {};
}

/** A budget's drop is counted from the plain run of the same seed. */
export function withReference<T extends DensitySettings | undefined>(
  settings: T,
  reference: DensityBudget['reference'],
): T {
  return settings?.budget ? { ...settings, budget: { ...settings.budget, reference } } : settings;
}
