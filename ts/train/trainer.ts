import { backward } from '../autograd/backward.js';
import { batchIndices, type Example, type RaggedBatch } from '../data/batching.js';
import { meanDensity } from '../density/mean-density.js';
import { DeftuneError } from '../error.js';
import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import { ForwardContext } from '../nn/forward-context.js';
import type { Parameter } from '../nn/parameter.js';
import { add, scale } from '../ops/elementwise.js';
import type { PeftModel } from '../peft/peft-model.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { AdamW } from './adamw.js';
import { evaluate, type Evaluation } from './evaluate.js';
import { schedule, warmupSteps } from './schedule.js';
import { trainingArguments, type TrainingArguments } from './training-arguments.js';
import { yieldToEvents } from './yield-to-events.js';

/** One line of a run's log. */
export interface StepLog {
  /** From 1. */
  step: number;
  /** taskLoss + Σ weight · auxiliary loss */
  loss: number;
  taskLoss: number;
  /** Density loss without its weight; 0 in plain PEFT. */
  densityLoss: number;
  /** Share of exact non-zeros of the MLP activations, over real tokens, averaged over layers. */
  density: number;
  lr: number;
  /** Norm of the gradient before clipping. */
  gradNorm: number;
  /** Real tokens of the step. */
  tokens: number;
  /** Seconds that the step took. */
  seconds: number;
}

/** An evaluation during or after a run. */
export interface EvaluationLog extends Evaluation {
  eval: true;
  step: number;
}

/** What a trainer works on. */
export interface TrainerOptions {
  model: PeftModel;
  trainDataset: readonly Example[];
  evalDataset?: readonly Example[] | undefined;
  args?: Partial<TrainingArguments> | undefined;
  /** Terms added to the task loss, e.g. `densityLoss({ alpha: 0.05 }, model.base.info.activation)`. */
  auxiliaryLosses?: readonly AuxiliaryLoss[] | undefined;
  /** Default: the head's. The first is the main one. */
  metricNames?: readonly string[] | undefined;
  onStep?: ((log: StepLog, totalSteps: number) => void) | undefined;
  onEvaluate?: ((log: EvaluationLog) => void) | undefined;
}

/** Result of a run. */
export interface TrainResult {
  steps: number;
  seconds: number;
  log: StepLog[];
  /** The last evaluation; undefined without evalDataset. */
  evaluation: EvaluationLog | undefined;
}

/** Losses of one or more micro-batches. */
interface Losses {
  loss: number;
  taskLoss: number;
  densityLoss: number;
  density: number;
  tokens: number;
}

/** Trains the trainable parameters of a model. */
export class Trainer {
  private readonly args: TrainingArguments;

  /** @throws DeftuneError naming a training argument out of range, or an empty data set. */
  constructor(private readonly options: TrainerOptions) {
    this.args = trainingArguments(options.args ?? {});
    if (options.trainDataset.length === 0)
      throw new DeftuneError('trainDataset has no examples, expected at least one');
    if (!options.model.base.head.hasLabels) return;
    const unlabelled = options.trainDataset.findIndex(({ label, labelIds }) => (label ?? labelIds) === undefined);
    if (unlabelled >= 0) throw new DeftuneError(`trainDataset: example ${unlabelled} has no label`);
  }

  /** Steps of the run. */
  get totalSteps(): number {
    const { maxSteps, epochs, batchSize, gradientAccumulationSteps } = this.args;
    if (maxSteps > 0) return maxSteps;
    const stepsPerEpoch = Math.ceil(this.options.trainDataset.length / batchSize / gradientAccumulationSteps);
    return Math.max(1, Math.ceil(epochs * stepsPerEpoch));
  }

  /**
   * Runs the training; the event loop runs between steps.
   * @throws DeftuneError where a loss is NaN or infinite, naming the step.
   */
  async train(): Promise<TrainResult> {
    const { model, trainDataset } = this.options;
    const { args, totalSteps } = this;
    const { backend } = model.base;
    const parameters = new Map([...model.trainableParameters()].map(([name, parameter]) => [parameter, name]));
    const optimizer = new AdamW(backend, parameters.keys(), args);
    const rate = schedule(args.lrScheduler);
    const warmup = warmupSteps(args.warmup, totalSteps);
    const log: StepLog[] = [];
    let evaluation: EvaluationLog | undefined;
    const started = performance.now();
    try {
      for (const { step, microBatches, endsEpoch } of this.plan(totalSteps)) {
        const stepStarted = performance.now();
        const lr = args.learningRate * rate(step - 1, warmup, totalSteps);
        const examples = await this.ready(
          microBatches.map((indices) => indices.map((index) => trainDataset[index] as Example)),
        );
        const { losses, gradNorm } = scope(backend, () => this.step(examples, step, optimizer, lr));
        const seconds = (performance.now() - stepStarted) / 1000;
        const entry: StepLog = { step, ...losses, lr, gradNorm, seconds };
        log.push(entry);
        this.options.onStep?.(entry, totalSteps);
        await yieldToEvents();
        const isDue = (args.evalSteps > 0 && step % args.evalSteps === 0) || (args.evalEpochs && endsEpoch);
        if (isDue || step === totalSteps) evaluation = (await this.evaluate(step)) ?? evaluation;
      }
    } finally {
      optimizer.dispose();
    }
    return { steps: totalSteps, seconds: (performance.now() - started) / 1000, log, evaluation };
  }

  /** Scores evalDataset; undefined where there is none. */
  private async evaluate(step: number): Promise<EvaluationLog | undefined> {
    const { model, evalDataset, metricNames, onEvaluate } = this.options;
    if (!evalDataset?.length) return undefined;
    const result = await evaluate(model.base, evalDataset, { batchSize: this.args.batchSize, metricNames });
    const entry: EvaluationLog = { eval: true, step, ...result };
    onEvaluate?.(entry);
    return entry;
  }

  /** The batches of each step, epoch after epoch; an epoch's last step may have fewer. */
  private *plan(totalSteps: number): Generator<{ step: number; microBatches: number[][]; endsEpoch: boolean }> {
    const { batchSize, gradientAccumulationSteps, shuffle, seed } = this.args;
    let step = 0;
    for (let epoch = 0; ; epoch++) {
      const batches = batchIndices(this.options.trainDataset.length, batchSize, { shuffle, seed, epoch });
      for (let first = 0; first < batches.length; first += gradientAccumulationSteps) {
        step += 1;
        const microBatches = batches.slice(first, first + gradientAccumulationSteps);
        yield { step, microBatches, endsEpoch: first + gradientAccumulationSteps >= batches.length };
        if (step === totalSteps) return;
      }
    }
  }

  /** Forward, backward and update for one step, inside the step's scope. */
  private step(
    microBatches: readonly (readonly Example[])[],
    step: number,
    optimizer: AdamW,
    lr: number,
  ): { losses: Losses; gradNorm: number } {
    const { backend } = this.options.model.base;
    const gradients = new Map<Parameter, number>();
    const batches = microBatches.map((examples, index) => this.collate(examples, step, index));
    const weights = batches.map((batch) => this.options.model.base.head.lossWeight(batch));
    const labelled = weights.reduce((sum, weight) => sum + weight, 0);
    const total: Losses = { loss: 0, taskLoss: 0, densityLoss: 0, density: 0, tokens: 0 };
    batches.forEach((batch, index) => {
      // The mean over all labels of the step, as in one large batch.
      const share = (weights[index] ?? 0) / labelled;
      scope(backend, () => {
        const { loss, losses } = this.forward(batch, this.microStep(step, index), step);
        for (const [leaf, gradient] of backward(loss, share)) {
          const parameter = leaf as Parameter;
          const sum = gradients.get(parameter);
          // Kept in the step's scope, which ends after the update.
          if (sum === undefined) gradients.set(parameter, backend.keep(gradient, 1));
          else backend.addInPlace(sum, gradient, 1);
        }
        for (const key of ['loss', 'taskLoss', 'densityLoss', 'density'] as const) total[key] += losses[key] * share;
        total.tokens += losses.tokens;
      });
    });
    const gradNorm = Math.sqrt(
      [...gradients.values()].reduce((sum, gradient) => sum + backend.sumSquares(gradient), 0),
    );
    if (!Number.isFinite(gradNorm)) throw this.notFinite('the gradient norm', gradNorm, step);
    const { maxGradNorm } = this.args;
    // As torch.nn.utils.clip_grad_norm_.
    const clip = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
    optimizer.update(gradients, lr, clip);
    return { losses: total, gradNorm };
  }

  /** Loads what the examples of a step need, e.g. images. */
  private async ready(microBatches: Example[][]): Promise<(readonly Example[])[]> {
    const { head } = this.options.model.base;
    return Promise.all(microBatches.map(async (examples) => (await head.ready?.(examples)) ?? examples));
  }

  /** Number of a micro-batch in the run, from 0. */
  private microStep(step: number, index: number): number {
    return (step - 1) * this.args.gradientAccumulationSteps + index;
  }

  private collate(examples: readonly Example[], step: number, index: number): RaggedBatch {
    const { head, info } = this.options.model.base;
    return head.collate(examples, { info, seed: (this.args.seed + this.microStep(step, index)) >>> 0 });
  }

  private forward(batch: RaggedBatch, micro: number, step: number): { loss: Tensor; losses: Losses } {
    const { model, auxiliaryLosses = [] } = this.options;
    const { base } = model;
    const context = new ForwardContext(true, this.args.seed, micro);
    for (const auxiliary of auxiliaryLosses) auxiliary.prepare?.(context);
    let loss = base.taskLoss(batch, context);
    const losses: Losses = {
      loss: 0,
      taskLoss: loss.item(),
      densityLoss: 0,
      density: meanDensity(context.mlps),
      tokens: batch.tokens,
    };
    for (const auxiliary of auxiliaryLosses) {
      const value = auxiliary.compute(context);
      losses.densityLoss += value.item();
      loss = add(loss, scale(value, auxiliary.weight));
    }
    losses.loss = loss.item();
    if (!Number.isFinite(losses.loss)) throw this.notFinite('the loss', losses.loss, step);
    return { loss, losses };
  }

  private notFinite(what: string, value: number, step: number): DeftuneError {
    return new DeftuneError(
      `step ${step}: ${what} is ${value}, expected a finite number; try a smaller learning rate (lr)`,
    );
  }
}
