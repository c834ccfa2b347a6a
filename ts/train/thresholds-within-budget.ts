import type { Example } from '../data/batching.js';
import { thresholdsOf, type ChosenThreshold, type ThresholdCalibration } from '../density/threshold-calibration.js';
import type { Model } from '../models/model.js';
import { activationThresholds, setActivationThresholds } from '../nn/activation-thresholds.js';
import { evaluate, type Evaluation, type PredictOptions } from './evaluate.js';

/** Errors that are tried: 1 % to 100 %, each a quarter more than the one before. */
const ERRORS = Array.from({ length: 22 }, (_, index) => Math.min(1, 0.01 * 1.25 ** index));

/** Thresholds and what they were chosen by. */
export interface ThresholdsWithinBudget {
  chosen: ChosenThreshold[];
  /** The error that the MLPs were allowed. */
  maxError: number;
  before: Evaluation;
  after: Evaluation;
}

/**
 * Finds the largest error of the MLPs with which the main metric falls by no more than `maxMetricDrop` points on labelled examples, by
 * bisection over errors of 1 % to 100 %; the model's own thresholds are as before when it ends.
 *
 * @param maxMetricDrop in hundredths of the metric, from 0; of metrics of which larger is better
 */
export async function thresholdsWithinBudget(
  model: Model,
  calibration: ThresholdCalibration,
  examples: readonly Example[],
  maxMetricDrop: number,
  options: PredictOptions & { metricNames?: readonly string[] | undefined } = {},
): Promise<ThresholdsWithinBudget> {
  const own = activationThresholds(model);
  const before = await evaluate(model, examples, options);
  const floor = before.metric - maxMetricDrop / 100;
  // Without a threshold all is as before.
  let best: ThresholdsWithinBudget = {
    chosen: calibration.choose({ maxError: 0 }),
    maxError: 0,
    before,
    after: before,
  };
  try {
    let [low, high] = [0, ERRORS.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const maxError = ERRORS[middle] as number;
      const chosen = calibration.choose({ maxError });
      setActivationThresholds(model, thresholdsOf(chosen, own));
      const after = await evaluate(model, examples, options);
      if (after.metric >= floor) {
        best = { chosen, maxError, before, after };
        low = middle + 1;
      } else high = middle;
    }
  } finally {
    setActivationThresholds(model, own);
  }
  return best;
}
