import { checkPairs } from './check-pairs.js';

/**
 * Share of tokens whose predicted class is their label, over all sequences together, 0 to 1; tokens labelled -100 do not count.
 *
 * @param predictions class indexes of each token of each sequence, [n][tokens]
 * @param labels as many, [n][tokens]
 * @throws DeftuneError when the lengths differ or nothing is labelled
 */
export function tokenAccuracy(predictions: readonly ArrayLike<number>[], labels: readonly ArrayLike<number>[]): number {
  checkPairs('tokenAccuracy', predictions, labels);
  let right = 0;
  let total = 0;
  labels.forEach((sequence, i) => {
    const predicted = predictions[i] ?? [];
    checkPairs(`tokenAccuracy of sequence ${i}`, predicted, sequence);
    for (let t = 0; t < sequence.length; t++) {
      if (sequence[t] === -100) continue;
      total += 1;
      if (sequence[t] === predicted[t]) right += 1;
    }
  });
  checkPairs('tokenAccuracy', { length: total }, { length: total });
  return right / total;
}
