import { isCollapsed } from '../metrics/is-collapsed.js';
import { majorityShare } from '../metrics/majority-share.js';

/** What a reader must know of answers that are one and the same class, or no better than it. */
export function collapseWarnings(predicted: readonly number[], labels: readonly number[]): string[] {
  if (labels.length < 2) return [];
  if (isCollapsed(predicted)) {
    return [
      'the predictions have collapsed to one class; where there is a density loss, try a smaller alpha (its weight)',
    ];
  }
  const majority = majorityShare(labels);
  const accuracy = labels.filter((label, index) => label === predicted[index]).length / labels.length;
  if (accuracy > majority) return [];
  const shares = `${(accuracy * 100).toFixed(2)} % against ${(majority * 100).toFixed(2)} %`;
  return [
    `the accuracy is no better than the majority class's share (${shares}); try more steps or, where there is a density loss, a smaller alpha`,
  ];
}
