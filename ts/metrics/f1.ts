import { checkPairs } from './check-pairs.js';
import { confusion } from './confusion.js';

/**
 * Binary F1 of class 1: 2·tp / (2·tp + fp + fn); 0 when class 1 is neither predicted nor present.
 *
 * @param predictions class indexes, [n]
 * @param labels class indexes, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function f1(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkPairs('f1', predictions, labels);
  const { truePositive, falsePositive, falseNegative } = confusion(predictions, labels);
  const denominator = 2 * truePositive + falsePositive + falseNegative;
  return denominator === 0 ? 0 : (2 * truePositive) / denominator;
}
