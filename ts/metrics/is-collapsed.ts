/**
 * Whether a model predicts one class for everything, which a fair accuracy on uneven data can hide.
 * Fewer than 2 predictions tell nothing and count as not collapsed.
 *
 * @param predictions class indexes, [n]
 */
export function isCollapsed(predictions: ArrayLike<number>): boolean {
  if (predictions.length < 2) return false;
  for (let i = 1; i < predictions.length; i++) if (predictions[i] !== predictions[0]) return false;
  return true;
}
