import type { EvaluationPoint } from '../../nn/auxiliary-loss.js';
import { formatMetric, formatPercent } from './format.js';

/** One line for people: the last evaluation of the plain run that a budget was counted from. */
export function describeReference({ metric, density }: EvaluationPoint, directory: string): string {
  return `plain: ${formatMetric(metric)}, density ${formatPercent(density)}; adapter: ${directory}`;
}
