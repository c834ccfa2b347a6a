import { DeftuneError } from '../error.js';

/**
 * Checks that a metric has something to compare.
 *
 * @throws DeftuneError when there are no labels, or not as many predictions as labels
 */
export function checkPairs(metric: string, predictions: ArrayLike<unknown>, labels: ArrayLike<unknown>): void {
  if (predictions.length !== labels.length) {
    throw new DeftuneError(
      `${metric}: ${predictions.length} predictions for ${labels.length} labels, expected as many`,
    );
  }
  if (labels.length === 0) throw new DeftuneError(`${metric}: no labels, expected at least 1`);
}
