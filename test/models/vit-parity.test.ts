// ViT against transformers: hidden 36, three heads, MLP 76, images of 12 x 8 with two channels (see test/fixtures/make_vit.py).
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { meanDensity } from '../../ts/density/mean-density.js';
import { AutoModelForImageClassification } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { add, scale } from '../../ts/ops/elementwise.js';
import { applyAdapter, readAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { scope } from '../../ts/tensor/scope.js';
import { Trainer } from '../../ts/train/trainer.js';
import { onEachBackend } from '../backend/on-each-backend.js';

interface Batch {
  pixelValues: number[][][][];
  labels: number[];
}
interface LossConfig {
  kind: 'l0';
  granularity: 'feature-map' | 'element';
  eps: number;
}
interface Step {
  loss: number;
  taskLoss: number;
  densityLoss: number;
  gradNorm: number;
}
interface Expected {
  batch: Batch;
  baseLogits: number[][];
  baseLoss: number;
  logits: number[][];
  loss: number;
  density: { mean: number };
  losses: Record<string, { config: LossConfig | null; alpha: number; loss: number; densityLoss: number; grads: Grads }>;
  fullGrads: Grads;
  fullGradNorms: Record<string, number>;
  training: { alpha: number; batches: Batch[] } & Record<string, Step[]>;
}
type Grads = Record<string, number[]>;

const fixture = (path: string): string => fileURLToPath(new URL(`../fixtures/vit/${path}`, import.meta.url));
const expected = JSON.parse(readFileSync(fixture('expected.json'), 'utf8')) as Expected;
const open = (backend: Backend, folder = 'model'): Promise<Model> =>
  AutoModelForImageClassification.fromPretrained(fixture(folder), { backend });

function examplesOf({ pixelValues, labels }: Batch): Example[] {
  return pixelValues.map((image, index) => ({
    inputIds: [],
    pixelValues: Float32Array.from(image.flat(2)),
    label: labels[index],
  }));
}

function auxiliaries(config: LossConfig | null, alpha: number): AuxiliaryLoss[] {
  return config ? [densityLoss({ loss: config.kind, form: config.granularity, alpha, eps: config.eps }, 'gelu')] : [];
}

/** Forward and backward pass: loss terms, logits, density, and gradients by the parameter's name. */
function pass(model: Model, batch: Batch, losses: readonly AuxiliaryLoss[] = []) {
  return scope(model.backend, () => {
    const context = new ForwardContext();
    for (const loss of losses) loss.prepare?.(context);
    const collated = model.head.collate(examplesOf(batch), { info: model.info });
    const logits = model.forward(collated, context);
    let loss = model.head.loss(logits, collated);
    let density = 0;
    for (const auxiliary of losses) {
      const value = auxiliary.compute(context);
      density += value.item();
      loss = add(loss, scale(value, auxiliary.weight));
    }
    const result = { logits: logits.toFloats(), loss: loss.item(), densityLoss: density };
    const found = loss.requiresGrad ? backward(loss) : new Map<never, number>();
    const grads = new Map<string, Float32Array>();
    for (const [name, parameter] of model.namedParameters()) {
      const gradient = (found as Map<unknown, number>).get(parameter);
      if (gradient !== undefined) grads.set(name, model.backend.readF32(gradient));
    }
    return { ...result, grads, density: meanDensity(context.mlps) };
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
function closeGradient(
  t: ExecutionContext,
  found: ArrayLike<number> | undefined,
  wanted: number[],
  what: string,
): void {
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  close(t, found ?? [], wanted, 1e-4 * largest + 1e-9, what);
}

for (const folder of ['model', 'model_v5']) {
  onEachBackend(`${folder}: logits and loss of the base model`, async (t, backend) => {
    const model = await open(backend, folder);
    const { logits, loss } = pass(model, expected.batch);
    close(t, logits, expected.baseLogits.flat(), 1e-4, 'logits');
    close(t, [loss], [expected.baseLoss], 1e-4, 'loss');
  });
}

onEachBackend('full fine-tuning: gradients of every kind of parameter', async (t, backend) => {
  const model = await open(backend);
  getPeftModel(model, { method: 'full' });
  const { grads } = pass(model, expected.batch);
  for (const [name, wanted] of Object.entries(expected.fullGrads)) closeGradient(t, grads.get(name), wanted, name);
  t.deepEqual([...grads.keys()].sort(), Object.keys(expected.fullGradNorms).sort());
  for (const [name, norm] of Object.entries(expected.fullGradNorms)) {
    const found = Math.hypot(...(grads.get(name) ?? []));
    t.true(Math.abs(found - norm) <= 1e-4 * norm + 1e-6, `${name}: norm ${found}, expected ${norm}`);
  }
});

onEachBackend('adapter of peft: logits, density, and every gradient for each density loss', async (t, backend) => {
  const { base } = applyAdapter(await open(backend), readAdapter(fixture('adapter')));
  for (const [name, { config, alpha, loss, densityLoss: value, grads }] of Object.entries(expected.losses)) {
    const found = pass(base, expected.batch, auxiliaries(config, alpha));
    close(t, found.logits, expected.logits.flat(), 1e-4, 'logits');
    close(t, [found.density], [expected.density.mean], 1e-6, 'density');
    close(t, [found.loss, found.densityLoss], [loss, value], 1e-4, `${name}: losses`);
    for (const [key, wanted] of Object.entries(grads)) {
      closeGradient(t, found.grads.get(key.replace('base_model.model.', '')), wanted, `${name}: ${key}`);
    }
  }
});

onEachBackend('ten steps of training', async (t, backend) => {
  for (const name of Object.keys(expected.losses)) {
    const model = applyAdapter(await open(backend), readAdapter(fixture('adapter')));
    const { alpha, batches } = expected.training;
    const trainer = new Trainer({
      model,
      trainDataset: batches.flatMap(examplesOf),
      auxiliaryLosses: auxiliaries(expected.losses[name]?.config ?? null, alpha),
      args: { batchSize: 2, maxSteps: 10, warmup: 2, weightDecay: 0.01, shuffle: false },
    });
    const { log } = await trainer.train();
    const wanted = expected.training[name] as Step[];
    for (const [index, step] of wanted.entries()) {
      const found = log[index];
      for (const key of ['loss', 'taskLoss', 'densityLoss', 'gradNorm'] as const) {
        const value = step[key];
        t.true(Math.abs((found?.[key] ?? NaN) - value) <= 1e-4 * Math.abs(value), `${name}, step ${index + 1}: ${key}`);
      }
    }
  }
});
