import { DeftuneError } from '../error.js';

/**
 * Share of the commonest class, 0 to 1: the accuracy of always guessing it, hence what a model must beat.
 *
 * @param labels class indexes, [n]
 * @throws DeftuneError when there are none
 */
export function majorityShare(labels: ArrayLike<number>): number {
  if (labels.length === 0) throw new DeftuneError('majorityShare: no labels, expected at least 1');
  const counts = new Map<number, number>();
  let most = 0;
  for (let i = 0; i < labels.length; i++) {
    const count = (counts.get(labels[i]!) ?? 0) + 1;
    counts.set(labels[i]!, count);
    if (count > most) most = count;
  }
  return most / labels.length;
}
