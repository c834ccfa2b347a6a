import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { accuracy } from './accuracy.js';
import { f1 } from './f1.js';
import { matthews } from './matthews.js';
import { pearson } from './pearson.js';
import { spearman } from './spearman.js';

export { accuracy } from './accuracy.js';
export { answerF1 } from './answer-f1.js';
export { entityF1, entityScores, type EntityScores } from './entity-f1.js';
export { exactMatch } from './exact-match.js';
export { f1 } from './f1.js';
export { isCollapsed } from './is-collapsed.js';
export { majorityShare } from './majority-share.js';
export { matthews } from './matthews.js';
export { pearson } from './pearson.js';
export { perplexity } from './perplexity.js';
export { spearman } from './spearman.js';
export { TEXT_METRICS, type TextMetric, type TextMetricName } from './text-metrics.js';
export { tokenAccuracy } from './token-accuracy.js';

/** Compares [n] predictions with [n] labels; larger is better for every metric here. */
export type Metric = (predictions: ArrayLike<number>, labels: ArrayLike<number>) => number;

/** The name of a metric. */
export type MetricName = 'accuracy' | 'f1' | 'matthews' | 'pearson' | 'spearman';

/** All metrics by name. */
export const METRICS: Readonly<Record<MetricName, Metric>> = { accuracy, f1, matthews, pearson, spearman };

/**
 * The metric called `name`.
 *
 * @throws DeftuneError listing the known metrics
 */
export function getMetric(name: string): Metric {
  if (!Object.hasOwn(METRICS, name)) {
    throw new DeftuneError(`metric ${showValue(name)} is unknown, expected one of ${Object.keys(METRICS).join(', ')}`);
  }
  return METRICS[name as MetricName];
}
