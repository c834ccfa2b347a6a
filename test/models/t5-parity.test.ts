// T5 against transformers: version 1.0 (`relu`) and 1.1 (`gated`), d_model 36, three heads of 10, MLP 76 (see test/fixtures/make_t5.py).
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { generate } from '../../ts/generation/generate.js';
import { AutoModelForSeq2SeqLM } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { add, scale } from '../../ts/ops/elementwise.js';
import { applyAdapter, readAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { scope } from '../../ts/tensor/scope.js';
import { predict } from '../../ts/train/evaluate.js';
import { Trainer } from '../../ts/train/trainer.js';
import { onEachBackend } from '../backend/on-each-backend.js';

interface Batch {
  inputIds: number[][];
  labelIds: number[][];
}
interface LossConfig {
  kind: 'l0' | 'tanh';
  granularity: 'feature-map' | 'element';
  eps?: number;
  beta?: number;
}
interface Step {
  loss: number;
  taskLoss: number;
  densityLoss: number;
  gradNorm: number;
}
type Grads = Record<string, number[]>;
interface Expected {
  batch: Batch;
  baseLogits: number[][];
  baseLoss: number;
  baseLosses: Record<string, number>;
  logits: number[][];
  loss: number;
  density: Record<'encoder' | 'decoder', { perLayer: number[]; mean: number }>;
  losses: Record<
    string,
    { config: LossConfig | null; alpha: number; loss: number; taskLoss: number; densityLoss: number; grads: Grads }
  >;
  fullGrads: Grads;
  fullGradNorms: Record<string, number>;
  training: { alpha: number; batches: Batch[] } & Record<string, Step[]>;
  generation: {
    maxNewTokens: number;
    prompts: number[][];
    byBeams: Record<string, number[][]>;
    adapted: number[][];
  };
}

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/t5/${path}`, import.meta.url));
const open = (backend: Backend, variant: string): Promise<Model> =>
  AutoModelForSeq2SeqLM.fromPretrained(fixture(`${variant}/model`), { backend });
const adapted = async (backend: Backend, variant: string) =>
  applyAdapter(await open(backend, variant), readAdapter(fixture(`${variant}/adapter`)));

function examplesOf({ inputIds, labelIds }: Batch): Example[] {
  return inputIds.map((ids, index) => ({ inputIds: ids, labelIds: labelIds[index] }));
}

function auxiliaries(config: LossConfig | null, alpha: number): AuxiliaryLoss[] {
  if (!config) return [];
  const { kind, granularity, eps, beta } = config;
  return [densityLoss({ loss: kind, form: granularity, alpha, eps, beta }, 'relu')];
}

/** Forward and backward pass: loss terms, logits, and gradients by the parameter's name. */
function pass(model: Model, batch: Batch, losses: readonly AuxiliaryLoss[] = []) {
  return scope(model.backend, () => {
    const collated = model.head.collate(examplesOf(batch), { info: model.info });
    const logits = model.forward(collated, new ForwardContext()).toFloats();
    const context = new ForwardContext();
    for (const loss of losses) loss.prepare?.(context);
    let loss = model.taskLoss(collated, context);
    const taskLoss = loss.item();
    let density = 0;
    for (const auxiliary of losses) {
      const value = auxiliary.compute(context);
      density += value.item();
      loss = add(loss, scale(value, auxiliary.weight));
    }
    const found = loss.requiresGrad ? backward(loss) : new Map<never, number>();
    const grads = new Map<string, Float32Array>();
    for (const [name, parameter] of model.namedParameters()) {
      const gradient = (found as Map<unknown, number>).get(parameter);
      if (gradient !== undefined) grads.set(name, model.backend.readF32(gradient));
    }
    return { logits, loss: loss.item(), taskLoss, densityLoss: density, grads };
  });
}

function close(
  t: ExecutionContext,
  found: ArrayLike<number>,
  wanted: readonly number[],
  tolerance: number,
  what: string,
) {
  t.is(found.length, wanted.length, what);
  const worst = wanted.reduce((most, value, index) => Math.max(most, Math.abs(value - (found[index] as number))), 0);
  t.true(worst <= tolerance, `${what}: off by ${worst}`);
}

/** Relative to the largest element, as a gradient's small ones are differences of large ones. */
function closeGradient(t: ExecutionContext, found: ArrayLike<number> = [], wanted: number[], what: string): void {
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  close(t, found, wanted, 1e-4 * largest + 1e-9, what);
}

for (const variant of ['relu', 'gated']) {
  const expected = JSON.parse(readFileSync(fixture(`${variant}/expected.json`), 'utf8')) as Expected;

  onEachBackend(`${variant}: logits, losses and densities of the base model`, async (t, backend) => {
    const model = await open(backend, variant);
    const { logits, loss } = pass(model, expected.batch);
    close(t, logits, expected.baseLogits.flat(), 1e-4, 'logits');
    close(t, [loss], [expected.baseLoss], 1e-4, 'loss');
    const predictions = await predict(model, examplesOf(expected.batch), { batchSize: 3 });
    const { encoder, decoder } = expected.density;
    for (const [index, value] of Object.entries(expected.baseLosses)) {
      close(t, [predictions.outputs[Number(index)]?.loss ?? NaN], [value], 1e-4, `loss of example ${index}`);
    }
    close(t, [predictions.loss], [expected.baseLoss], 1e-4, 'loss over batches');
    const layers = predictions.layerDensity.map(({ density }) => density);
    close(t, layers, [...encoder.perLayer, ...decoder.perLayer], 1e-6, 'density by layer');
    t.deepEqual(
      predictions.layerDensity.map(({ name }) => name),
      [
        ...encoder.perLayer.map((_, i) => `encoder.block.${i}`),
        ...decoder.perLayer.map((_, i) => `decoder.block.${i}`),
      ],
    );
    close(t, [predictions.encoderDensity ?? NaN], [encoder.mean], 1e-6, 'density of the encoder');
    close(t, [predictions.decoderDensity ?? NaN], [decoder.mean], 1e-6, 'density of the decoder');
  });

  onEachBackend(`${variant}: full fine-tuning: gradients of every kind of parameter`, async (t, backend) => {
    const model = await open(backend, variant);
    getPeftModel(model, { method: 'full' });
    const { grads } = pass(model, expected.batch);
    for (const [name, wanted] of Object.entries(expected.fullGrads)) closeGradient(t, grads.get(name), wanted, name);
    t.deepEqual([...grads.keys()].sort(), Object.keys(expected.fullGradNorms).sort());
    for (const [name, norm] of Object.entries(expected.fullGradNorms)) {
      const found = Math.hypot(...(grads.get(name) ?? []));
      t.true(Math.abs(found - norm) <= 1e-4 * norm + 1e-6, `${name}: norm ${found}, expected ${norm}`);
    }
  });

  onEachBackend(`${variant}: adapter of peft: logits, and gradients for each density loss`, async (t, backend) => {
    const { base } = await adapted(backend, variant);
    for (const [name, wanted] of Object.entries(expected.losses)) {
      const found = pass(base, expected.batch, auxiliaries(wanted.config, wanted.alpha));
      close(t, found.logits.subarray(0, expected.logits.flat().length), expected.logits.flat(), 1e-4, 'logits');
      for (const key of ['loss', 'taskLoss', 'densityLoss'] as const) {
        close(t, [found[key]], [wanted[key]], 1e-4, `${name}: ${key}`);
      }
      t.true(Object.keys(wanted.grads).length > 0);
      for (const [key, gradient] of Object.entries(wanted.grads)) {
        closeGradient(t, found.grads.get(key.replace('base_model.model.', '')), gradient, `${name}: ${key}`);
      }
    }
  });

  onEachBackend(`${variant}: ten steps of training`, async (t, backend) => {
    for (const name of Object.keys(expected.losses)) {
      const { alpha, batches } = expected.training;
      const trainer = new Trainer({
        model: await adapted(backend, variant),
        trainDataset: batches.flatMap(examplesOf),
        auxiliaryLosses: auxiliaries(expected.losses[name]?.config ?? null, alpha),
        args: { batchSize: 3, maxSteps: 10, warmup: 2, weightDecay: 0.01, shuffle: false },
      });
      const { log } = await trainer.train();
      for (const [index, step] of (expected.training[name] as Step[]).entries()) {
        for (const key of ['loss', 'taskLoss', 'densityLoss', 'gradNorm'] as const) {
          const found = log[index]?.[key] ?? NaN;
          t.true(
            Math.abs(found - step[key]) <= 1e-4 * Math.abs(step[key]),
            `${name}, step ${index + 1}: ${key} ${found}, expected ${step[key]}`,
          );
        }
      }
    }
  });

  onEachBackend(`${variant}: greedy and beam search give transformers' tokens`, async (t, backend) => {
    const { maxNewTokens, prompts, byBeams, adapted: withAdapter } = expected.generation;
    const model = await open(backend, variant);
    for (const [beams, wanted] of Object.entries(byBeams)) {
      for (const batchSize of [1, 2, 5]) {
        const found = await generate(model, prompts, { maxNewTokens, numBeams: Number(beams), batchSize });
        t.deepEqual(found, wanted, `${beams} beams, ${batchSize} prompts a batch`);
      }
    }
    const { base } = await adapted(backend, variant);
    t.deepEqual(await generate(base, prompts, { maxNewTokens, numBeams: 3 }), withAdapter);
  });
}
