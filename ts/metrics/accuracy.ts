import { checkPairs } from './check-pairs.js';

/**
 * Share of predictions equal to their label, 0 to 1.
 *
 * @param predictions class indexes, [n]
 * @param labels class indexes, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function accuracy(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkPairs('accuracy', predictions, labels);
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (predictions[i] === labels[i]) right += 1;
  return right / labels.length;
}
