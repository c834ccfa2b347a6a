/** Counts of the four outcomes of a binary classification with class 1 as positive. */
export interface Confusion {
  truePositive: number;
  falsePositive: number;
  trueNegative: number;
  falseNegative: number;
}

/**
 * Counts the outcomes; every class other than 1 is negative.
 *
 * @param predictions class indexes, [n]
 * @param labels class indexes, [n]
 */
export function confusion(predictions: ArrayLike<number>, labels: ArrayLike<number>): Confusion {
  const counts = { truePositive: 0, falsePositive: 0, trueNegative: 0, falseNegative: 0 };
  for (let i = 0; i < labels.length; i++) {
    if (predictions[i] === 1) counts[labels[i] === 1 ? 'truePositive' : 'falsePositive'] += 1;
    else counts[labels[i] === 1 ? 'falseNegative' : 'trueNegative'] += 1;
  }
  return counts;
}
