import type { Evaluation } from '../../train/evaluate.js';
import { describeDensity } from './describe-density.js';
import { describeSkipped } from './describe-gates.js';
import { formatMetric } from './format.js';

/** A validation set's result by the set's name. */
export interface NamedEvaluation {
  name: string;
  evaluation: Evaluation;
}

/** What a command's JSON says of an evaluation. */
export function evaluationJson(evaluation: Evaluation): Record<string, unknown> {
  const { metrics, loss, density, encoderDensity, decoderDensity, layerDensity } = evaluation;
  return { ...metrics, loss, density, encoderDensity, decoderDensity, layerDensity };
}

/** The validation sets after the first by name, e.g. MNLI's `mismatched`; nothing where a data set has one. */
export function otherSetsJson(sets: readonly NamedEvaluation[]): Record<string, unknown> {
  if (sets.length === 0) return {};
  return {
    otherSets: Object.fromEntries(
      sets.map(({ name, evaluation }) => [name, { ...evaluationJson(evaluation), examples: evaluation.examples }]),
    ),
  };
}

/** One line for people: metric, loss, density, and the set's name where there are several. */
export function describeEvaluation(evaluation: Evaluation, name?: string): string {
  const { metricName, metric, loss, examples, layerDensity } = evaluation;
  const skipped = describeSkipped(layerDensity);
  const set = name === undefined ? '' : `${name}: `;
  return `${set}${metricName} ${formatMetric(metric)}, loss ${loss.toFixed(4)}, ${describeDensity(evaluation)} on ${examples} examples${skipped === undefined ? '' : `, ${skipped}`}`;
}
