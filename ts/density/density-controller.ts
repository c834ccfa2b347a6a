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
  /**
   * Evaluations of a plain run of as many steps, where there was one (`TrainResult.evaluations`): on the way the fall is counted from its
   * metric at the same step, as the metric of any run gains while the learning rate falls, and at the end from its last. Default: the best
   * (smoothed) metric of the run itself.
   */
  reference?: readonly { step: number; metric: number }[] | undefined;
  /** Share of the run, from its start, that is trained without the density loss, to know the metric without it; default 0.2. */
  plainShare?: number | undefined;
  /** Share of the run after which the density aimed at falls no further for the metric's sake, so that the metric recovers; default 0.7. */
  holdFrom?: number | undefined;
  /** Density aimed at after an evaluation within the budget, as a share of that evaluation's, 0.1 to 1 exclusive; default 0.85. */
  descent?: number | undefined;
}

const schema = z
  .strictObject({
    maxMetricDrop: z.number().min(0).max(100).optional(),
    targetDensity: z.number().min(0).max(1).optional(),
    reference: z
      .array(z.object({ step: z.number(), metric: z.number() }))
      .min(1)
      .optional(),
    plainShare: z.number().min(0).max(0.9).default(0.2),
    holdFrom: z.number().min(0).max(1).default(0.7),
    descent: z.number().min(0.1).lt(1).default(0.85),
  })
  .refine(({ maxMetricDrop, targetDensity }) => maxMetricDrop !== undefined || targetDensity !== undefined, {
    error: 'expected maxMetricDrop, targetDensity or both',
  });

/** Plain data, for checkpoints. */
interface ControllerState {
  /** In units of the task loss; the weight is this times {@link lossScale}. */
  alpha: number;
  /** Smoothed task loss of the plain phase, without one of the first step; undefined before. */
  taskLoss: number | undefined;
  /** Smoothed density of the training batches; undefined before the first. */
  density: number | undefined;
  /** Density of the last evaluation over that of the batches before it: their texts and their dropout differ. */
  ratio: number;
  /** Density that alpha is steered to; undefined before the first evaluation. */
  setpoint: number | undefined;
  /** As in the budget; nearer to 1 each time that the budget is left. */
  descent: number;
  /** The plain run's smoothed metric, else the highest of the run so far; of the plain phase at first. */
  reference: number | undefined;
  smoothed: number | undefined;
  /** The last evaluation was within the budget, or of the plain phase. */
  wasWithin: boolean;
}

/** Share of a new evaluation in the smoothed metric: small validation sets are noisy. */
const METRIC_SMOOTHING = 0.4;

/** Share of a new batch in the smoothed density, and in the smoothed task loss. */
const BATCH_SMOOTHING = 0.2;

/** alpha is multiplied by exp(GAIN · relative error of the density) a step; the error counts up to 1. */
const GAIN = 0.25;

/** Bounds of alpha: no factor leads up from 0, and beyond the other the task is lost in any case. */
const [LEAST_ALPHA, LARGEST_ALPHA] = [1e-4, 1];

/** What an evaluation out of the budget is answered with: alpha at once, and a density that the model had before. */
const [RETREAT_ALPHA, RETREAT_DENSITY] = [0.5, 1.1];

/**
 * Share of the drop that the density is steered to beside a plain run: by chance alone half of the runs that are steered to all of it end
 * beyond it.
 */
const STEERED_SHARE = 0.75;

/** The retreat of the density is so many times as large at most, for a metric that is as many times its drop beyond it. */
const LARGEST_RETREAT = 2;

/** What the metric counts beside the density of an evaluation within the budget: a point as much as a millionth of the activations. */
const TIE = 1e-4;

/**
 * A density loss whose alpha nobody has to guess. Each evaluation within the budget lowers the density that is aimed at, each that is not
 * takes it back, and alpha follows that aim from step to step. In the last part of the run the density is held. A trainer that loads the
 * best evaluation ends with the last one of that part that is within the budget, else with the sparsest one before that is. The run needs
 * an evaluation set and regular evaluations, e.g. `evalSteps: 0.04`.
 *
 * The loss's own alpha is where the search starts, times the task loss of the plain phase over ln 2 where that is larger than 1.
 *
 * @throws DeftuneError naming a setting out of range.
 */
export function densityController<T extends AuxiliaryLoss>(
  loss: T & { description: string },
  budget: DensityBudget,
): AuxiliaryLoss & { description: string } {
  const given = Object.fromEntries(Object.entries(budget).filter(([, value]) => value !== undefined));
  const {
    maxMetricDrop,
    targetDensity = 0,
    reference,
    plainShare,
    holdFrom,
    descent,
  } = validate(schema, given, 'density budget');
  const drop = maxMetricDrop === undefined ? Infinity : maxMetricDrop / 100;
  let state: ControllerState = {
    ...{ alpha: loss.weight, taskLoss: undefined, density: undefined, ratio: 1, setpoint: undefined, descent },
    ...{ reference: undefined, smoothed: undefined, wasWithin: true },
  };
  const plain = reference && smoothedCurve(reference);
  const plainEnd = plain?.at(-1)?.metric;
  let isPlain = true;
  let isHeld = false;
  const limits = [
    ...(maxMetricDrop === undefined ? [] : [`at most ${maxMetricDrop} points below plain`]),
    ...(budget.targetDensity === undefined ? [] : [`density ${targetDensity}`]),
  ];
  return {
    name: loss.name,
    settings: { ...loss.settings, budget: given },
    description: `${loss.description}, driven to ${limits.join(', ')}`,
    get weight() {
      return isPlain ? 0 : state.alpha * lossScale(state.taskLoss);
    },
    beginStep(step, totalSteps) {
      loss.beginStep?.(step, totalSteps);
      isPlain = Number.isFinite(drop) && step <= plainShare * totalSteps;
      isHeld = Number.isFinite(drop) && step > holdFrom * totalSteps;
      if (isPlain || state.smoothed !== undefined || step < (plainShare + 0.2) * totalSteps) return;
      throw new DeftuneError(
        `density budget: no evaluation up to step ${step} of ${totalSteps}, expected an evaluation set and evalSteps below ${Math.ceil(plainShare * totalSteps)}`,
      );
    },
    onStep({ taskLoss, density }) {
      state.density = smooth(state.density, density, BATCH_SMOOTHING);
      if (isPlain || state.taskLoss === undefined) state.taskLoss = smooth(state.taskLoss, taskLoss, BATCH_SMOOTHING);
      const { setpoint } = state;
      if (isPlain || setpoint === undefined) return;
      const error = Math.max(-1, Math.min(1, (state.density * state.ratio - setpoint) / Math.max(setpoint, 1e-6)));
      state.alpha = Math.max(LEAST_ALPHA, Math.min(LARGEST_ALPHA, state.alpha * Math.exp(GAIN * error)));
    },
    onEvaluate({ step, metric, density }) {
      if (state.density !== undefined && state.density > 0) state.ratio = density / state.density;
      state.smoothed = smooth(state.smoothed, metric, METRIC_SMOOTHING);
      state.reference = plain ? plainMetric(plain, step) : Math.max(state.reference ?? -Infinity, state.smoothed);
      // Beside a plain run's, whose luck is of the same order and batches, one evaluation says less than several.
      const allowed = plain ? STEERED_SHARE * drop : drop;
      const excess = state.reference - (plain ? state.smoothed : metric) - allowed;
      const isWithin = excess <= 0;
      const wasWithin = state.wasWithin;
      state.wasWithin = isPlain || isWithin;
      if (state.wasWithin) {
        // A retreat from what was but chance, with the learning rate at its highest, is made good.
        if (!isPlain && excess <= -allowed / 2) state.descent = Math.max(descent, state.descent ** 2);
        // From where the density is, not from the last aim: one that runs ahead would drive alpha to its limit.
        if (!isHeld) state.setpoint = Math.max(targetDensity, density * state.descent);
        return;
      }
      // A density that is held is not left for one that has crept up meanwhile.
      const from = isHeld ? Math.min(density, state.setpoint ?? density) : density;
      const retreat =
        1 + (RETREAT_DENSITY - 1) * Math.min(LARGEST_RETREAT, Math.max(0.5, excess / Math.max(allowed, 1e-3)));
      state.setpoint = Math.max(targetDensity, from * retreat);
      // Once for each time that the budget is left: the density answers late, and alpha would be gone before it has.
      if (!wasWithin) return;
      state.descent = Math.sqrt(state.descent);
      state.alpha *= RETREAT_ALPHA;
    },
    score({ metric, density, step }) {
      // What the run costs in the end is counted from where the plain one ended.
      const shortfall = (plainEnd ?? state.reference ?? -Infinity) - drop - metric;
      // While the density is held, evaluations differ by chance: to choose among them would be to choose luck.
      if (isHeld && shortfall <= 0) return 1 + step;
      // Within the budget: 0 to 1, sparser is better, and what is below the target is as good as it. Else below 0, by how much is lacking.
      // Of those that are dense enough alike, the better metric.
      return shortfall > 0 ? -shortfall : 1 - Math.max(density, targetDensity) + TIE * metric;
    },
    state: () => ({ ...state }),
    load(saved) {
      if (saved !== undefined) state = { ...(saved as ControllerState) };
    },
    prepare: (context) => loss.prepare?.(context),
    compute: (context) => loss.compute(context),
  };
}

/** The first value, then a share of each new one. */
const smooth = (before: number | undefined, value: number, share: number): number =>
  before === undefined ? value : before + share * (value - before);

/**
 * What alpha is multiplied by. 0.03 and the bounds of alpha are those of tasks with two classes, whose loss is ln 2 at most; where the loss
 * is a mean over a vocabulary, several times as large, the same alpha hardly weighs.
 */
const lossScale = (taskLoss: number | undefined): number => Math.max(1, (taskLoss ?? 0) / Math.LN2);

/** An evaluation of the plain run, and its metric smoothed. */
interface PlainPoint {
  step: number;
  metric: number;
  smoothed: number;
}

/** In the steps' order. */
function smoothedCurve(evaluations: readonly { step: number; metric: number }[]): PlainPoint[] {
  let smoothed: number | undefined;
  return [...evaluations]
    .sort((a, b) => a.step - b.step)
    .map(({ step, metric }) => ({ step, metric, smoothed: (smoothed = smooth(smoothed, metric, METRIC_SMOOTHING)) }));
}

/** The curve's smoothed metric at a step: that of the last evaluation up to it, else of the first. */
function plainMetric(curve: readonly PlainPoint[], step: number): number {
  return ([...curve].reverse().find((evaluation) => evaluation.step <= step) ?? curve[0])?.smoothed ?? Number.NaN;
}
