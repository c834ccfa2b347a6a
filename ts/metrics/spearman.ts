import { checkPairs } from './check-pairs.js';
import { pearson } from './pearson.js';

/**
 * Spearman correlation, -1 to 1: Pearson's of the ranks, ties sharing their average rank; 0 when either
 * side is constant.
 *
 * @param predictions values, [n]
 * @param labels values, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function spearman(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkPairs('spearman', predictions, labels);
  return pearson(ranks(predictions), ranks(labels));
}

function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end += 1;
    for (let i = start; i < end; i++) result[order[i]!] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}
