import { checkPairs } from './check-pairs.js';

/**
 * Pearson correlation, -1 to 1; 0 when either side is constant, so that a collapsed model compares as
 * the worst useful one instead of as NaN.
 *
 * @param predictions values, [n]
 * @param labels values, [n]
 * @throws DeftuneError when the lengths differ or are 0
 */
export function pearson(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkPairs('pearson', predictions, labels);
  const n = labels.length;
  let meanP = 0;
  let meanL = 0;
  for (let i = 0; i < n; i++) {
    meanP += predictions[i]! / n;
    meanL += labels[i]! / n;
  }
  let both = 0;
  let squareP = 0;
  let squareL = 0;
  for (let i = 0; i < n; i++) {
    const p = predictions[i]! - meanP;
    const l = labels[i]! - meanL;
    both += p * l;
    squareP += p * p;
    squareL += l * l;
  }
  const denominator = Math.sqrt(squareP) * Math.sqrt(squareL);
  return denominator === 0 || isConstant(predictions) || isConstant(labels) ? 0 : both / denominator;
}

/** Exact, because rounding of the mean leaves a constant list with tiny squares. */
function isConstant(values: ArrayLike<number>): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return true;
}
