import { IGNORED_LABEL, type RaggedBatch } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { crossEntropy } from '../ops/task-losses.js';
import { Tensor } from '../tensor/tensor.js';
import { argmax, crossEntropyOf } from './softmax.js';
import type { Head, HeadOutput } from './head.js';

/** What the language-model heads share: logits [labelled tokens, vocabulary], one loss a token. */
export const languageModel = {
  hasLabels: false,

  isLabelled: () => true,

  resolveLabels: () => ({ labels: [], names: [], regression: false }),

  smoothsLabels: () => true,

  loss(logits: Tensor, { labels }: RaggedBatch, labelSmoothing = 0): Tensor {
    return crossEntropy(logits, Tensor.fromInts(logits.backend, Int32Array.from(labels ?? [])), labelSmoothing);
  },

  lossWeight: ({ labels }: RaggedBatch) => Array.from(labels ?? []).filter((id) => id !== IGNORED_LABEL).length,

  outputs(logits: Tensor, batch: RaggedBatch): HeadOutput[] {
    const values = logits.toFloats();
    const rows = Array.from({ length: logits.rows }, (_, row) =>
      values.subarray(row * logits.cols, (row + 1) * logits.cols),
    );
    const labels = Array.from(batch.labels ?? []);
    const losses = rows.map((scores, row) => crossEntropyOf(scores, labels[row] ?? IGNORED_LABEL));
    return outputsOfRows({ losses, hits: rows.map((scores, row) => Number(argmax(scores) === labels[row])) }, batch);
  },

  predictions: (outputs: readonly HeadOutput[]) => outputs.map(({ loss }) => ({ loss })),

  defaultMetrics: (): readonly string[] => ['tokenAccuracy', 'perplexity'],

  /**
   * `tokenAccuracy`: share of labels that are the likeliest token; `exactMatch`: share of examples of which all are (which for a
   * decoder is the share that greedy decoding answers to the letter); `perplexity`: exp of the mean loss a token.
   */
  score(metricName: string, outputs: readonly HeadOutput[]): number {
    const sum = (value: (output: HeadOutput) => number): number =>
      outputs.reduce((total, output) => total + (output.weight > 0 ? value(output) : 0), 0);
    const tokens = sum(({ weight }) => weight);
    const metrics: Readonly<Record<string, () => number>> = {
      tokenAccuracy: () => sum(({ correct }) => correct) / tokens,
      exactMatch: () => sum(({ correct, weight }) => Number(correct === weight)) / outputs.length,
      perplexity: () => Math.exp(sum(({ loss, weight }) => loss * weight) / tokens),
    };
    const metric = Object.hasOwn(metrics, metricName) ? metrics[metricName] : undefined;
    if (metric) return metric();
    throw new DeftuneError(
      `metric '${metricName}' is not one of a language model, expected one of ${Object.keys(metrics).join(', ')}`,
    );
  },

  warnings: (): string[] => [],
} satisfies Partial<Head>;

/**
 * One output an example, from the losses of the labelled tokens.
 *
 * @param rows.losses [labelled tokens]
 * @param rows.hits [labelled tokens]: 1 where the label is the likeliest token
 */
export function outputsOfRows(
  { losses, hits }: { losses: ArrayLike<number>; hits: ArrayLike<number> },
  { size, labels, cuOutputs }: RaggedBatch,
): HeadOutput[] {
  const offsets = cuOutputs ?? new Int32Array(size + 1);
  return Array.from({ length: size }, (_, index): HeadOutput => {
    const output = { loss: 0, weight: 0, logits: new Float32Array(), correct: 0 };
    for (let row = offsets[index] as number; row < (offsets[index + 1] as number); row++) {
      if ((labels?.[row] ?? IGNORED_LABEL) === IGNORED_LABEL) continue;
      output.loss += losses[row] as number;
      output.weight += 1;
      output.correct += hits[row] as number;
    }
    return { ...output, loss: output.loss / output.weight };
  });
}

/** Positions that have a label, their labels, and where each example's begin. */
export function labelledRows(
  cuSeqlens: Int32Array,
  labelOf: (example: number, position: number) => number,
): Pick<RaggedBatch, 'outputRows' | 'labels' | 'cuOutputs'> {
  const rows: number[] = [];
  const labels: number[] = [];
  const cuOutputs = new Int32Array(cuSeqlens.length);
  for (let example = 0; example + 1 < cuSeqlens.length; example++) {
    const start = cuSeqlens[example] as number;
    for (let row = start; row < (cuSeqlens[example + 1] as number); row++) {
      const label = labelOf(example, row - start);
      if (label === IGNORED_LABEL) continue;
      rows.push(row);
      labels.push(label);
    }
    cuOutputs[example + 1] = rows.length;
  }
  return { outputRows: Int32Array.from(rows), labels: Int32Array.from(labels), cuOutputs };
}
