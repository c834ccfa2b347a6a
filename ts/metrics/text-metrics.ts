import { answerF1 } from './answer-f1.js';
import { exactMatch } from './exact-match.js';

/** Compares [n] texts with the correct answers of each of [n] questions; larger is better. */
export type TextMetric = (
  predictions: readonly (string | undefined)[],
  answers: readonly (readonly string[])[],
) => number;

/** The name of a metric of texts. */
export type TextMetricName = 'answerF1' | 'exactMatch';

/** All metrics of texts by name. */
export const TEXT_METRICS: Readonly<Record<TextMetricName, TextMetric>> = { answerF1, exactMatch };
