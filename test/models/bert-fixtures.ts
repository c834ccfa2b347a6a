// What the parity tests ask of the library, in one place: open a fixture, run it, differentiate it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { backward } from '../../ts/autograd/backward.js';
import { noGrad } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { DensityMeter } from '../../ts/density/mean-density.js';
import { AutoModelForSequenceClassification } from '../../ts/models/auto-model-node.js';
import type { Model, ModelOptions } from '../../ts/models/model.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { add, scale } from '../../ts/ops/elementwise.js';
import { applyAdapter, readAdapter } from '../../ts/peft/peft-files-node.js';
import type { PeftModel } from '../../ts/peft/peft-model.js';
import { scope } from '../../ts/tensor/scope.js';
import type { Tensor } from '../../ts/tensor/tensor.js';

/** Fixtures with an adapter, by the activation of their MLPs. */
export const VARIANTS = ['relu', 'gelu', 'gelu_new', 'silu'] as const;
export type Variant = (typeof VARIANTS)[number];

/** A density loss as the fixtures write it. */
export interface LossConfig {
  kind: 'tanh' | 'l0';
  granularity: 'feature-map' | 'element';
  beta?: number;
  eps?: number;
}

export interface FixtureBatch {
  inputIds: number[][];
  tokenTypeIds: number[][];
  labels: number[];
}

export interface FixtureStep {
  step: number;
  loss: number;
  taskLoss: number;
  densityLoss: number;
  density: number;
  gradNorm: number;
  lr: number;
}

export interface FixtureRun {
  steps: FixtureStep[];
  final: Record<string, number[]>;
}

export interface Density {
  perLayer: number[];
  mean: number;
}

/** expected.json of a fixture with an adapter. */
export interface Expected {
  hiddenAct: string;
  numLabels: number;
  lora: { r: number; alpha: number; targetModules: string[] };
  batch: FixtureBatch;
  logits: number[][];
  baseLogits: number[][];
  loss: number;
  baseLoss: number;
  density: Density;
  baseDensity: Density;
  losses: Record<
    string,
    {
      config: LossConfig | null;
      alpha: number;
      loss: number;
      taskLoss: number;
      densityLoss: number;
      maxAbsGradDiffFloat64: number;
      grads: Record<string, number[]>;
    }
  >;
  training: Record<string, FixtureRun> & { batches: FixtureBatch[] } & Record<
      'alpha' | 'lr' | 'eps' | 'weightDecay' | 'maxGradNorm' | 'warmupSteps' | 'totalSteps',
      number
    >;
}

/** Path of a part of a fixture. */
export function fixturePath(variant: string, part: string): string {
  return fileURLToPath(new URL(`../fixtures/bert/${variant}/${part}`, import.meta.url));
}

export function readExpected<T = Expected>(variant: string): T {
  return JSON.parse(readFileSync(fixturePath(variant, 'expected.json'), 'utf8')) as T;
}

export function examplesOf({ inputIds, tokenTypeIds, labels }: FixtureBatch): Example[] {
  return inputIds.map((ids, index) => ({ inputIds: ids, tokenTypeIds: tokenTypeIds[index], label: labels[index] }));
}

/** Opens the model in `directory`, by default the variant's own. */
export function openBase(
  backend: Backend,
  variant: string,
  options: ModelOptions & { directory?: string } = {},
): Promise<Model> {
  const { directory = fixturePath(variant, 'model'), ...rest } = options;
  return AutoModelForSequenceClassification.fromPretrained(directory, { backend, ...rest });
}

/** The variant's model with its adapter, which real peft wrote. */
export async function openAdapted(backend: Backend, variant: Variant): Promise<PeftModel> {
  return applyAdapter(await openBase(backend, variant), readAdapter(fixturePath(variant, 'adapter')));
}

/** The density loss that a fixture's settings describe. */
export function auxiliaryLosses(config: LossConfig | null, alpha: number, activation: string): AuxiliaryLoss[] {
  if (!config) return [];
  const { kind, granularity, beta, eps } = config;
  return [densityLoss({ loss: kind, form: granularity, alpha, beta, eps }, activation)];
}

export interface Outcome {
  logits: Float32Array;
  taskLoss: number;
  densityLoss: number;
  loss: number;
  density: Density;
}

/** Forward pass of one batch, without dropout. */
export function run(model: Model, batch: FixtureBatch, losses: readonly AuxiliaryLoss[] = []): Outcome {
  return noGrad(() => scope(model.backend, () => pass(model, batch, losses).outcome));
}

/** Gradient of the loss with respect to each trainable parameter, by its name in the model. */
export function gradients(
  model: Model,
  batch: FixtureBatch,
  losses: readonly AuxiliaryLoss[] = [],
): { outcome: Outcome; grads: Map<string, Float32Array> } {
  return scope(model.backend, () => {
    const { loss, outcome } = pass(model, batch, losses);
    const found = backward(loss);
    const grads = new Map<string, Float32Array>();
    for (const [name, parameter] of model.namedParameters()) {
      const gradient = found.get(parameter);
      if (gradient !== undefined) grads.set(name, model.backend.readF32(gradient));
    }
    return { outcome, grads };
  });
}

function pass(model: Model, batch: FixtureBatch, losses: readonly AuxiliaryLoss[]) {
  const context = new ForwardContext();
  for (const loss of losses) loss.prepare?.(context);
  const collated = model.head.collate(examplesOf(batch), { info: model.info });
  const logits = model.forward(collated, context);
  let loss = model.head.loss(logits, collated);
  const taskLoss = loss.item();
  let densityLoss = 0;
  for (const auxiliary of losses) {
    const value = auxiliary.compute(context);
    densityLoss += value.item();
    loss = add(loss, scale(value, auxiliary.weight));
  }
  const meter = new DensityMeter();
  meter.add(context.mlps);
  const density = { perLayer: meter.perLayer().map((layer) => layer.density), mean: meter.mean() };
  return { loss, outcome: { logits: logits.toFloats(), taskLoss, densityLoss, loss: loss.item(), density } };
}

/** Last hidden states [tokens, d] and pooled sequences [sequences, d] of a BERT with a pooler. */
export function hiddenStates(model: Model, batch: FixtureBatch): { last: Float32Array; pooled: Float32Array } {
  type Forward = { forward(...inputs: unknown[]): Tensor };
  const { bert } = model as unknown as {
    bert: Forward & { pooler: Forward; firstTokens: Forward['forward'] };
  };
  return noGrad(() =>
    scope(model.backend, () => {
      const context = new ForwardContext();
      const collated = model.head.collate(examplesOf(batch), { info: model.info });
      const last = bert.forward(collated, context);
      context.pooledTokensOnly = true;
      const pooled = bert.pooler.forward(bert.firstTokens(collated, context), context);
      return { last: last.toFloats(), pooled: pooled.toFloats() };
    }),
  );
}

/** Largest difference of two lists of numbers; NaN where one has no partner. */
export function maxDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Number.NaN;
  return Array.from(found).reduce((worst, value, index) => {
    const difference = Math.abs(value - (expected[index] as number));
    return difference <= worst ? worst : difference;
  }, 0);
}

/** Largest absolute value. */
export function maxAbs(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
