import { checkPairs } from './check-pairs.js';

/**
 * Matthews correlation, -1 to 1, in its form for any number of classes (for two it is the usual one);
 * 0 when the predictions or the labels are all one class.
 *
 * @param predictions class indexes, [n]
 * @param labels class indexes, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function matthews(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkPairs('matthews', predictions, labels);
  const n = labels.length;
  const predicted = new Map<number, number>();
  const actual = new Map<number, number>();
  let right = 0;
  for (let i = 0; i < n; i++) {
    const p = predictions[i]!;
    const l = labels[i]!;
    predicted.set(p, (predicted.get(p) ?? 0) + 1);
    actual.set(l, (actual.get(l) ?? 0) + 1);
    if (p === l) right += 1;
  }
  let cross = 0;
  for (const [label, count] of actual) cross += count * (predicted.get(label) ?? 0);
  const spread = (counts: Map<number, number>): number => {
    let squares = 0;
    for (const count of counts.values()) squares += count * count;
    return n * n - squares;
  };
  const denominator = Math.sqrt(spread(predicted) * spread(actual));
  return denominator === 0 ? 0 : (right * n - cross) / denominator;
}
