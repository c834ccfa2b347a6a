import { batchIndices, collate, type Example } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { DensityMeter } from '../density/mean-density.js';
import { noGrad } from '../autograd/node.js';
import { isCollapsed } from '../metrics/is-collapsed.js';
import { majorityShare } from '../metrics/majority-share.js';
import { getMetric } from '../metrics/index.js';
import type { SequenceClassificationModel } from '../models/model.js';
import { ForwardContext } from '../nn/forward-context.js';
import { scope } from '../tensor/scope.js';
import { yieldToEvents } from './yield-to-events.js';

/** Logits of each example, in order. */
export interface Predictions {
  logits: Float32Array[];
  /** Mean task loss; undefined without labels. */
  loss: number | undefined;
  density: number;
  layerDensity: { name: string; density: number }[];
  tokens: number;
}

/** Options of prediction and evaluation. */
export interface PredictOptions {
  /** Default 32. */
  batchSize?: number | undefined;
  /** Told after each batch how many examples are done. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Runs the model without gradients or dropout over examples; lets the event loop run between batches.
 * @throws DeftuneError where a logit is NaN or infinite.
 */
export async function predict(
  model: SequenceClassificationModel,
  examples: readonly Example[],
  { batchSize = 32, onProgress }: PredictOptions = {},
): Promise<Predictions> {
  const meter = new DensityMeter();
  const logits: Float32Array[] = [];
  let lossSum = 0;
  let labelled = 0;
  let tokens = 0;
  for (const indices of batchIndices(examples.length, batchSize)) {
    const batch = collate(
      indices.map((index) => examples[index] as Example),
      { regression: model.info.numLabels === 1 },
    );
    noGrad(() =>
      scope(model.backend, () => {
        const context = new ForwardContext();
        const out = model.forward(batch, context);
        meter.add(context.mlps);
        const values = out.toFloats();
        for (let row = 0; row < batch.size; row++) {
          const own = values.slice(row * out.cols, (row + 1) * out.cols);
          if (!own.every(Number.isFinite)) throw notFinite(logits.length, own);
          logits.push(own);
        }
        if (batch.labels) {
          lossSum += model.taskLoss(out, batch.labels).item() * batch.size;
          labelled += batch.size;
        }
      }),
    );
    tokens += batch.tokens;
    onProgress?.(logits.length, examples.length);
    await yieldToEvents();
  }
  const loss = labelled > 0 ? lossSum / labelled : undefined;
  return { logits, loss, density: meter.mean(), layerDensity: meter.perLayer(), tokens };
}

function notFinite(index: number, row: Float32Array): DeftuneError {
  return new DeftuneError(
    `example ${index}: the logits are ${row.join(', ')}, expected finite numbers; the weights of the model or adapter are not usable`,
  );
}

/** A data set's result. */
export interface Evaluation {
  loss: number;
  metricName: string;
  /** 0 to 1 for accuracy and F1, -1 to 1 for correlations. */
  metric: number;
  density: number;
  layerDensity: { name: string; density: number }[];
  examples: number;
  /** What a reader must know, e.g. that the model answers a constant. */
  warnings: string[];
}

/** Predicts and scores examples with labels. @param metricName default accuracy, or pearson for regression. */
export async function evaluate(
  model: SequenceClassificationModel,
  examples: readonly Example[],
  options: PredictOptions & { metricName?: string | undefined } = {},
): Promise<Evaluation> {
  const regression = model.info.numLabels === 1;
  const metricName = options.metricName ?? (regression ? 'pearson' : 'accuracy');
  const metric = getMetric(metricName);
  const { logits, loss, density, layerDensity } = await predict(model, examples, options);
  const labels = examples.map(({ label }) => label ?? Number.NaN);
  const answers = regression ? logits.map((row) => row[0] ?? Number.NaN) : logits.map(argmax);
  const value = metric(answers, labels);
  const warnings: string[] = [];
  if (!regression && examples.length > 1) {
    const majority = majorityShare(labels);
    if (isCollapsed(answers)) {
      warnings.push(
        'the predictions have collapsed to one class; try a smaller alpha (the weight of the density loss)',
      );
    } else if (metricName === 'accuracy' && value <= majority) {
      const shares = `${(value * 100).toFixed(2)} % against ${(majority * 100).toFixed(2)} %`;
      warnings.push(
        `the accuracy is no better than the majority class's share (${shares}); try a smaller alpha or more steps`,
      );
    }
  }
  return {
    loss: loss ?? Number.NaN,
    metricName,
    metric: value,
    density,
    layerDensity,
    examples: examples.length,
    warnings,
  };
}

/** Index of the largest value; the first of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if ((values[index] ?? 0) > (values[best] ?? 0)) best = index;
  return best;
}

/** softmax of one row, in double precision. */
export function softmax(values: ArrayLike<number>): number[] {
  const row = Array.from(values);
  const largest = Math.max(...row);
  const exps = row.map((value) => Math.exp(value - largest));
  const sum = exps.reduce((total, value) => total + value, 0);
  return exps.map((value) => value / sum);
}
