import { collate } from '../data/batching.js';
import { resolveLabels } from '../data/labels.js';
import { getMetric } from '../metrics/index.js';
import { crossEntropy, meanSquaredError } from '../ops/task-losses.js';
import { Tensor } from '../tensor/tensor.js';
import { argmax, crossEntropyOf, softmax } from './softmax.js';
import { collapseWarnings } from './collapse-warnings.js';
import { encodeText } from './encode-text.js';
import type { Head, HeadInfo, HeadOutput } from './head.js';

const isRegression = ({ numLabels }: HeadInfo): boolean => numLabels === 1;

/** Labels a whole sequence: a class, or with one label a value (regression). Logits [sequences, numLabels]. */
export const sequenceClassification: Head = {
  name: 'SequenceClassification',
  taskType: 'SEQ_CLS',
  hasLabels: true,
  claims: ({ label, image }) => label !== undefined && image === undefined,
  resolveLabels,
  isLabelled: ({ label }) => label !== undefined,

  toExamples(record, label, context) {
    return [{ ...encodeText(record, context), ...(label === undefined ? {} : { label }) }];
  },

  collate: (examples, { info }) => collate(examples, { regression: isRegression(info) }),

  smoothsLabels: (info) => !isRegression(info),

  /** Mean cross-entropy, or mean squared error for one label, as in transformers. */
  loss(logits, { labels }, labelSmoothing = 0) {
    const { backend } = logits;
    const given = labels ?? [];
    if (logits.cols === 1) {
      return meanSquaredError(logits, Tensor.fromFloats(backend, Float32Array.from(given), [given.length, 1]));
    }
    return crossEntropy(logits, Tensor.fromInts(backend, Int32Array.from(given)), labelSmoothing);
  },

  lossWeight: ({ size }) => size,

  outputs(logits, { size, labels }) {
    const values = logits.toFloats();
    return Array.from({ length: size }, (_, index): HeadOutput => {
      const row = values.slice(index * logits.cols, (index + 1) * logits.cols);
      const label = labels?.[index];
      if (label === undefined) return { loss: Number.NaN, weight: 0, logits: row, correct: 0 };
      const loss = row.length === 1 ? ((row[0] as number) - label) ** 2 : crossEntropyOf(row, label);
      return { loss, weight: 1, logits: row, correct: row.length > 1 && argmax(row) === label ? 1 : 0 };
    });
  },

  /** The likeliest label with its probability; for regression the value as the score. */
  predictions: (outputs, _examples, info, options) =>
    outputs.map(({ logits }) => {
      const kept = options?.logits ? { logits: Array.from(logits) } : {};
      if (isRegression(info)) return { label: info.labelNames[0] ?? 'LABEL_0', score: logits[0], ...kept };
      const best = argmax(logits);
      return { label: info.labelNames[best] ?? `LABEL_${best}`, score: softmax(logits)[best], ...kept };
    }),

  defaultMetrics: (info) => [isRegression(info) ? 'pearson' : 'accuracy'],

  score(metricName, outputs, examples, info) {
    const labels = examples.map(({ label }) => label ?? Number.NaN);
    return getMetric(metricName)(answers(outputs, info), labels);
  },

  warnings(outputs, examples, info) {
    if (isRegression(info)) return [];
    return collapseWarnings(
      answers(outputs, info),
      examples.map(({ label }) => label ?? Number.NaN),
    );
  },
};

function answers(outputs: readonly HeadOutput[], info: HeadInfo): number[] {
  return outputs.map(({ logits }) => (isRegression(info) ? (logits[0] ?? Number.NaN) : argmax(logits)));
}
