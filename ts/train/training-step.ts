import { backward } from '../autograd/backward.js';
import type { Example, RaggedBatch } from '../data/batching.js';
import { densitySummary, type DensitySummary } from '../density/mean-density.js';
import type { Model } from '../models/model.js';
import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import { ForwardContext } from '../nn/forward-context.js';
import type { Parameter } from '../nn/parameter.js';
import { add, scale } from '../ops/elementwise.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { firstNonFinite } from './first-non-finite.js';
import { NonFiniteError } from './non-finite-error.js';

/** Losses of a step. */
export interface StepLosses extends DensitySummary {
  /** taskLoss + Σ weight · auxiliary loss */
  loss: number;
  taskLoss: number;
  /** The auxiliary loss of that name without its weight; 0 where there is none. */
  densityLoss: number;
  /** Other auxiliary losses by name, without their weights, where there are any. */
  auxiliary?: Record<string, number>;
  /** Real tokens. */
  tokens: number;
}

/** Losses and gradients of a step; the gradients live in the scope around it. */
export interface StepResult {
  losses: StepLosses;
  gradients: Map<Parameter, number>;
  /** Norm of all gradients together, before clipping. */
  gradNorm: number;
}

/** What a step works on. */
export interface StepInput {
  model: Model;
  auxiliaryLosses: readonly AuxiliaryLoss[];
  /** From 1. */
  step: number;
  seed: number;
  /** Of the task loss, 0 to 1. */
  labelSmoothing: number;
  /** Whether layers make their activations again instead of keeping them. */
  recompute: boolean;
  /** As in the training arguments. */
  pooledTokensOnly: boolean;
  /** Number of the step's first micro-batch in the run, from 0: what random numbers depend on. */
  firstMicroBatch: number;
}

/**
 * Forward and backward pass over the micro-batches of a step, as if they were one batch: each loss counts by its labels.
 *
 * @throws NonFiniteError where a loss or gradient is NaN or infinite
 */
export function trainingStep(microBatches: readonly (readonly Example[])[], input: StepInput): StepResult {
  const { model, seed, firstMicroBatch } = input;
  const { backend, head, info } = model;
  const gradients = new Map<Parameter, number>();
  const batches = microBatches.map((examples, index) =>
    head.collate(examples, { info, seed: (seed + firstMicroBatch + index) >>> 0 }),
  );
  const weights = batches.map((batch) => head.lossWeight(batch));
  const labelled = weights.reduce((sum, weight) => sum + weight, 0);
  const total: StepLosses = { loss: 0, taskLoss: 0, densityLoss: 0, density: 0, tokens: 0 };
  batches.forEach((batch, index) => {
    const weight = weights[index] ?? 0;
    // A language model has nothing to learn from texts of one token.
    if (weight === 0) return;
    const share = weight / labelled;
    scope(backend, () => {
      const { loss, losses } = forward(batch, input, index);
      for (const [leaf, gradient] of backward(loss, { seed: share, release: true })) {
        const parameter = leaf as Parameter;
        const sum = gradients.get(parameter);
        // Kept in the step's scope, which ends after the update.
        if (sum === undefined) gradients.set(parameter, backend.keep(gradient, 1));
        else backend.addInPlace(sum, gradient, 1);
      }
      const { tokens, auxiliary, ...means } = losses;
      for (const [key, value] of Object.entries(means) as [keyof typeof means, number][]) {
        total[key] = (total[key] ?? 0) + value * share;
      }
      for (const [name, value] of Object.entries(auxiliary ?? {})) {
        total.auxiliary = { ...total.auxiliary, [name]: (total.auxiliary?.[name] ?? 0) + value * share };
      }
      total.tokens += tokens;
    });
  });
  const gradNorm = Math.sqrt([...gradients.values()].reduce((sum, gradient) => sum + backend.sumSquares(gradient), 0));
  if (!Number.isFinite(gradNorm)) {
    const bad = [...gradients].find(([, gradient]) => !Number.isFinite(backend.sumSquares(gradient)))?.[0];
    const name = [...model.namedParameters()].find(([, parameter]) => parameter === bad)?.[0] ?? 'a parameter';
    throw new NonFiniteError(input.step, 'the gradient norm', gradNorm, `the gradient of ${name}`);
  }
  return { losses: total, gradients, gradNorm };
}

function forward(batch: RaggedBatch, input: StepInput, index: number): { loss: Tensor; losses: StepLosses } {
  const { model, auxiliaryLosses, seed, labelSmoothing, recompute, pooledTokensOnly, firstMicroBatch, step } = input;
  const run = (): { loss: Tensor; losses: StepLosses } => {
    const context = new ForwardContext(true, seed, firstMicroBatch + index);
    context.labelSmoothing = labelSmoothing;
    context.recompute = recompute;
    context.pooledTokensOnly = pooledTokensOnly && auxiliaryLosses.length === 0;
    for (const auxiliary of auxiliaryLosses) auxiliary.prepare?.(context);
    let loss = model.taskLoss(batch, context);
    const losses: StepLosses = {
      loss: 0,
      taskLoss: loss.item(),
      densityLoss: 0,
      ...densitySummary(context.mlps),
      tokens: batch.tokens,
    };
    for (const auxiliary of auxiliaryLosses) {
      const value = auxiliary.compute(context);
      if (auxiliary.name === 'densityLoss') losses.densityLoss = value.item();
      else losses.auxiliary = { ...losses.auxiliary, [auxiliary.name]: value.item() };
      loss = add(loss, scale(value, auxiliary.weight));
    }
    losses.loss = loss.item();
    return { loss, losses };
  };
  const result = run();
  if (Number.isFinite(result.losses.loss)) return result;
  throw new NonFiniteError(step, 'the loss', result.losses.loss, firstNonFinite(model, run));
}
