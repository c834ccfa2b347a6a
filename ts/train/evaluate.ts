import { batchIndices, type Example, type RaggedBatch } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { DensityMeter, type DensitySummary, type LayerDensity } from '../density/mean-density.js';
import { noGrad } from '../autograd/node.js';
import { generate } from '../generation/generate.js';
import type { HeadOutput } from '../heads/head.js';
import type { Model } from '../models/model.js';
import { freezeWeights } from '../nn/freeze-weights.js';
import { ForwardContext, type MlpObservation } from '../nn/forward-context.js';
import { scope } from '../tensor/scope.js';
import { yieldToEvents } from '../tensor/yield-to-events.js';
import { firstNonFinite } from './first-non-finite.js';

/** What a model gave for each example, in order. */
export interface Predictions extends DensitySummary {
  outputs: HeadOutput[];
  /** Mean task loss over all labels; NaN without labels. */
  loss: number;
  layerDensity: LayerDensity[];
  tokens: number;
}

/** Options of prediction and evaluation. */
export interface PredictOptions {
  /** Default 32. */
  batchSize?: number | undefined;
  /**
   * The last layer runs for those tokens alone that the head reads, where it is one of each sequence (classifiers of texts and images), and
   * densities are over what ran; default false.
   */
  pooledTokensOnly?: boolean | undefined;
  /** Told after each batch how many examples are done. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** Shown what the MLPs did with each batch, while their tensors are there. */
  observe?: ((mlps: readonly MlpObservation[], batch: RaggedBatch) => void) | undefined;
}

/**
 * Runs the model without gradients or dropout over examples; lets the event loop run between batches.
 * @throws DeftuneError where a logit is NaN or infinite.
 */
export async function predict(
  model: Model,
  examples: readonly Example[],
  { batchSize = 32, pooledTokensOnly = false, onProgress, observe }: PredictOptions = {},
): Promise<Predictions> {
  const { head, info, backend } = model;
  freezeWeights(model, model.precision);
  const meter = new DensityMeter();
  const outputs: HeadOutput[] = [];
  let tokens = 0;
  for (const [number, indices] of batchIndices(examples.length, batchSize).entries()) {
    const chosen = indices.map((index) => examples[index] as Example);
    const batch = head.collate((await head.ready?.(chosen)) ?? chosen, { info, seed: number });
    noGrad(() =>
      scope(backend, () => {
        const context = new ForwardContext();
        context.pooledTokensOnly = pooledTokensOnly;
        for (const output of model.outputs(batch, context)) {
          if (!isFinite(output)) {
            const culprit = firstNonFinite(model, () => model.outputs(batch, new ForwardContext()));
            throw notFinite(outputs.length, output, culprit);
          }
          outputs.push(output);
        }
        meter.add(context.mlps, context.skipped);
        observe?.(context.mlps, batch);
      }),
    );
    tokens += batch.tokens;
    onProgress?.(outputs.length, examples.length);
    await yieldToEvents();
  }
  const labelled = outputs.filter(({ weight }) => weight > 0);
  const sum = (value: (output: HeadOutput) => number): number => labelled.reduce((s, output) => s + value(output), 0);
  const loss = sum((output) => output.loss * output.weight) / sum(({ weight }) => weight);
  return { outputs, loss, ...meter.summary(), layerDensity: meter.perLayer(), tokens };
}

function isFinite({ loss, weight, logits }: HeadOutput): boolean {
  return logits.every(Number.isFinite) && (weight === 0 || Number.isFinite(loss));
}

function notFinite(index: number, { loss, logits }: HeadOutput, culprit: string): DeftuneError {
  const what = logits.length > 0 ? `the logits are ${logits.subarray(0, 8).join(', ')}` : `the loss is ${loss}`;
  return new DeftuneError(
    `example ${index}: ${what}, expected finite numbers; the first tensor that went wrong is ${culprit}`,
  );
}

/** A data set's result. */
export interface Evaluation extends DensitySummary {
  /** Mean task loss over all labels. */
  loss: number;
  metricName: string;
  /** The main metric: 0 to 1 for accuracy and F1, -1 to 1 for correlations. */
  metric: number;
  /** Every metric by name, the main one first. */
  metrics: Record<string, number>;
  layerDensity: LayerDensity[];
  examples: number;
  /** What a reader must know, e.g. that the model answers a constant. */
  warnings: string[];
}

/** Predicts and scores examples with labels. @param options.metricNames default: the head's, e.g. accuracy, or pearson for regression */
export async function evaluate(
  model: Model,
  examples: readonly Example[],
  options: PredictOptions & { metricNames?: readonly string[] | undefined } = {},
): Promise<Evaluation> {
  const { head, info } = model;
  const { outputs, loss, layerDensity, ...predicted } = await predict(model, examples, options);
  const names = options.metricNames?.length ? options.metricNames : head.defaultMetrics(info, examples);
  const maxNewTokens = head.tokensToGenerate?.(names, examples);
  if (maxNewTokens !== undefined) {
    const prompts = examples.map(({ inputIds }) => inputIds);
    const written = await generate(model, prompts, { maxNewTokens, batchSize: options.batchSize });
    for (const [index, output] of outputs.entries()) output.generatedIds = written[index];
  }
  const metrics = Object.fromEntries(names.map((name) => [name, head.score(name, outputs, examples, info)]));
  const metricName = names[0] as string;
  const { density, encoderDensity, decoderDensity } = predicted;
  return {
    loss,
    density,
    ...(encoderDensity === undefined || decoderDensity === undefined ? {} : { encoderDensity, decoderDensity }),
    layerDensity,
    metricName,
    metric: metrics[metricName] as number,
    metrics,
    examples: examples.length,
    warnings: head.warnings(outputs, examples, info),
  };
}
