// Batches of every family as the fixtures write them, run and differentiated.
import type { ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import { noGrad } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import { AutoModel } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { scope } from '../../ts/tensor/scope.js';
import { maxAbs, maxDifference } from '../models/bert-fixtures.js';

export interface AnyBatch {
  inputIds?: number[][];
  tokenTypeIds?: number[][];
  labelIds?: number[][];
  pixelValues?: number[][][][];
  labels?: number[];
}

/** The head that a base's fixtures are of. */
const HEADS: Readonly<Record<string, string>> = { t5: 'Seq2SeqLM', vit: 'ImageClassification' };

/** Opens a base's model directory with the head of its fixtures. */
export function openAny(backend: Backend, base: string, directory: string, head?: string): Promise<Model> {
  return AutoModel.fromPretrained(directory, { backend, head: head ?? HEADS[base] ?? 'SequenceClassification' });
}

/** What the reference gave for a batch: row after row, and by the reference's names. */
export interface Reference {
  batch: AnyBatch;
  logits: number[][];
  loss: number;
  grads: Record<string, number[]>;
}

/** Compares logits and loss with the reference's, and the gradients with those of recomputed layers. @returns the gradients */
export function agreeOnLogits(t: ExecutionContext, model: Model, expected: Reference): Map<string, Float32Array> {
  const { logits, loss, grads } = gradientsOf(model, expected.batch);
  const error = maxDifference(logits, expected.logits.flat());
  t.true(error <= 1e-4 * Math.max(1, maxAbs(expected.logits.flat())), `logits off by ${error}`);
  t.true(Math.abs(loss - expected.loss) <= 1e-5 * (1 + expected.loss));
  const again = gradientsOf(model, expected.batch, { recompute: true });
  t.deepEqual([...again.grads], [...grads]);
  agreeOnPooledTokens(t, model, expected.batch, { loss, logits, grads });
  return grads;
}

/** The last layer for the head's tokens alone gives what it gives for all. */
export function agreeOnPooledTokens(
  t: ExecutionContext,
  model: Model,
  batch: AnyBatch,
  every: ReturnType<typeof gradientsOf>,
): void {
  for (const recompute of [false, true]) {
    const pooled = gradientsOf(model, batch, { recompute, pooledTokensOnly: true });
    t.true(maxDifference(pooled.logits, every.logits) <= 1e-5 * Math.max(1, maxAbs(every.logits)));
    const largest = Math.max(...[...every.grads.values()].map(maxAbs));
    t.deepEqual([...pooled.grads.keys()], [...every.grads.keys()]);
    for (const [name, gradient] of pooled.grads) {
      const error = maxDifference(gradient, every.grads.get(name) ?? []);
      t.true(error <= 1e-5 * largest, `${name}: off by ${error}`);
    }
  }
}

/** Compares gradients with the reference's. @param find the gradient of the reference's parameter `key` */
export function agreeOnGradients(
  t: ExecutionContext,
  expected: Reference,
  find: (key: string) => Float32Array | undefined,
): void {
  const floor = 1e-6 * Math.max(...Object.values(expected.grads).map(maxAbs));
  for (const [key, gradient] of Object.entries(expected.grads)) {
    const error = maxDifference(find(key) ?? [], gradient);
    t.true(error <= 1e-4 * maxAbs(gradient) + floor, `${key}: off by ${error}, largest ${maxAbs(gradient)}`);
  }
}

export function examplesOfAny(batch: AnyBatch): Example[] {
  const images = batch.pixelValues;
  if (images) {
    return images.map((image, index) => ({
      inputIds: [],
      pixelValues: Float32Array.from(image.flat(2)),
      label: batch.labels?.[index],
    }));
  }
  return (batch.inputIds ?? []).map((inputIds, index) => ({
    inputIds,
    tokenTypeIds: batch.tokenTypeIds?.[index],
    labelIds: batch.labelIds?.[index],
    label: batch.labels?.[index],
  }));
}

/** Logits of a batch, row after row. */
export function logitsOf(model: Model, batch: AnyBatch): Float32Array {
  return noGrad(() => scope(model.backend, () => logits(model, batch, new ForwardContext()).logits.toFloats()));
}

/** Loss, logits and the gradient of each trainable parameter by its name; with `recompute` through layers that are made again. */
export function gradientsOf(
  model: Model,
  batch: AnyBatch,
  { recompute = false, pooledTokensOnly = false } = {},
): { loss: number; logits: Float32Array; grads: Map<string, Float32Array> } {
  return scope(model.backend, () => {
    const context = new ForwardContext();
    context.recompute = recompute;
    context.pooledTokensOnly = pooledTokensOnly;
    const result = logits(model, batch, context);
    const loss = model.head.loss(result.logits, result.collated);
    const found = backward(loss);
    const grads = new Map<string, Float32Array>();
    for (const [name, parameter] of model.namedParameters()) {
      const gradient = found.get(parameter);
      if (gradient !== undefined) grads.set(name, parameter.toStored(gradient));
    }
    return { loss: loss.item(), logits: result.logits.toFloats(), grads };
  });
}

function logits(model: Model, batch: AnyBatch, context: ForwardContext) {
  const collated = model.head.collate(examplesOfAny(batch), { info: model.info });
  return { collated, logits: model.forward(collated, context) };
}
