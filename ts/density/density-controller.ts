import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { validate } from '../io/validate.js';
import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';

/** What a run may cost, and where it may stop getting sparser. At least one of both. */
export interface DensityBudget {
  /** Largest fall of the main metric below that of the plain phase, in points (hundredths); e.g. 1. */
  maxMetricDrop?: number | undefined;
  /** Density (0 to 1) that is enough. */
  targetDensity?: number | undefined;
  /** Share of the run, from its start, that is trained without the density loss, to know the metric without it; default 0.2. */
  plainShare?: number | undefined;
  /** Factor by which alpha rises or falls from one evaluation to the next; default 1.6. */
  rate?: number | undefined;
}

const schema = z
  .strictObject({
    maxMetricDrop: z.number().min(0).max(100).optional(),
    targetDensity: z.number().min(0).max(1).optional(),
    plainShare: z.number().min(0).max(0.9).default(0.2),
    rate: z.number().gt(1).max(10).default(1.6),
  })
  .refine(({ maxMetricDrop, targetDensity }) => maxMetricDrop !== undefined || targetDensity !== undefined, {
    error: 'expected maxMetricDrop, targetDensity or both',
  });

/** Plain data, for checkpoints. */
interface ControllerState {
  alpha: number;
  /** Density of the last evaluation. */
  density: number | undefined;
  /** Highest smoothed metric so far; of the plain phase at first. */
  reference: number | undefined;
  smoothed: number | undefined;
}

/** Share of a new evaluation in the smoothed metric: small validation sets are noisy. */
const SMOOTHING = 0.4;

/** What the metric counts beside the density of an evaluation within the budget: a point as much as a millionth of the activations. */
const TIE = 1e-4;

/** The last share of a run, in which alpha rises no more: the model then makes up for what the last rise cost. */
const SETTLING = 0.2;

/** A fall of the density from one evaluation to the next, as a share of it, from which on alpha is left as it is: density answers late. */
const FALLING = 0.06;

/**
 * A density loss whose alpha nobody has to guess: it rises while the main metric of the evaluations stays within a budget, and falls when it does
 * not. Evaluations are ranked by density among those within the budget, so that a trainer that loads the best one ends with the
 * sparsest model that held it. The run needs an evaluation set and regular evaluations, e.g. `evalSteps: 0.04`.
 *
 * The loss's own alpha is where the search starts.
 *
 * @throws DeftuneError naming a setting out of range.
 */
export function densityController<T extends AuxiliaryLoss>(
  loss: T & { description: string },
  budget: DensityBudget,
): AuxiliaryLoss & { description: string } {
  const given = Object.fromEntries(Object.entries(budget).filter(([, value]) => value !== undefined));
  const { maxMetricDrop, targetDensity, plainShare, rate } = validate(schema, given, 'density budget');
  const drop = maxMetricDrop === undefined ? Infinity : maxMetricDrop / 100;
  let state: ControllerState = { alpha: loss.weight, density: undefined, reference: undefined, smoothed: undefined };
  let isPlain = true;
  let isSettling = false;
  const limits = [
    ...(maxMetricDrop === undefined ? [] : [`at most ${maxMetricDrop} points below plain`]),
    ...(targetDensity === undefined ? [] : [`density ${targetDensity}`]),
  ];
  return {
    name: loss.name,
    description: `${loss.description}, driven to ${limits.join(', ')}`,
    get weight() {
      return isPlain ? 0 : state.alpha;
    },
    beginStep(step, totalSteps) {
      loss.beginStep?.(step, totalSteps);
      isPlain = Number.isFinite(drop) && step <= plainShare * totalSteps;
      isSettling = Number.isFinite(drop) && step > (1 - SETTLING) * totalSteps;
      if (isPlain || state.smoothed !== undefined || step < (plainShare + 0.2) * totalSteps) return;
      throw new DeftuneError(
        `density budget: no evaluation up to step ${step} of ${totalSteps}, expected an evaluation set and evalSteps below ${Math.ceil(plainShare * totalSteps)}`,
      );
    },
    onEvaluate({ metric, density }) {
      state.smoothed = state.smoothed === undefined ? metric : state.smoothed + SMOOTHING * (metric - state.smoothed);
      state.reference = Math.max(state.reference ?? -Infinity, state.smoothed);
      const before = state.density;
      state.density = density;
      if (isPlain) return;
      const isFalling = density < (1 - FALLING) * (before ?? density);
      const isDear = state.smoothed < state.reference - drop;
      const isNearlyDear = state.smoothed < state.reference - drop / 2;
      if (isDear || density <= (targetDensity ?? 0)) state.alpha /= rate;
      else if (!isNearlyDear && !isFalling && !isSettling) state.alpha *= rate;
    },
    score({ metric, density }) {
      const shortfall = (state.reference ?? -Infinity) - drop - metric;
      // Within the budget: 0 to 1, sparser is better, and what is below the target is as good as it. Else below 0, by how much is lacking.
      // Of those that are dense enough alike, the better metric.
      return shortfall > 0 ? -shortfall : 1 - Math.max(density, targetDensity ?? 0) + TIE * metric;
    },
    state: () => ({ ...state }),
    load(saved) {
      if (saved !== undefined) state = { ...(saved as ControllerState) };
    },
    prepare: (context) => loss.prepare?.(context),
    compute: (context) => loss.compute(context),
  };
}
