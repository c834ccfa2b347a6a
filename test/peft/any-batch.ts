// Batches of every family as the fixtures write them, run and differentiated.
import { backward } from '../../ts/autograd/backward.js';
import { noGrad } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import { AutoModel } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { scope } from '../../ts/tensor/scope.js';

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
  { recompute = false } = {},
): { loss: number; logits: Float32Array; grads: Map<string, Float32Array> } {
  return scope(model.backend, () => {
    const context = new ForwardContext();
    context.recompute = recompute;
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
