import { batchIndices, type Example } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import type { AuxiliaryLoss, EvaluationPoint } from '../nn/auxiliary-loss.js';
import type { PeftModel } from '../peft/peft-model.js';
import { scope } from '../tensor/scope.js';
import type { CheckpointStore, ProgressState, TrainingState } from './checkpoint.js';
import { evaluate, type Evaluation } from './evaluate.js';
import { NonFiniteError } from './non-finite-error.js';
import { optimizerNamed, type Optimizer } from './optimizer.js';
import { parameterGroups } from './parameter-groups.js';
import { schedule, warmupSteps } from './schedule.js';
import { trainingArguments, type TrainingArguments } from './training-arguments.js';
import { trainingStep, type StepLosses } from './training-step.js';
import { yieldToEvents } from '../tensor/yield-to-events.js';

/** One line of a run's log. */
export interface StepLog extends StepLosses {
  /** From 1. */
  step: number;
  lr: number;
  /** Norm of the gradient before clipping. */
  gradNorm: number;
  /** Seconds that the step took. */
  seconds: number;
}

/** An evaluation during or after a run. */
export interface EvaluationLog extends Evaluation {
  eval: true;
  step: number;
}

/** Told of what happens in a run. A promise is waited for. */
export interface TrainerCallback {
  onStep?: ((log: StepLog, totalSteps: number) => void | Promise<void>) | undefined;
  onEvaluate?: ((log: EvaluationLog) => void | Promise<void>) | undefined;
  /** After a checkpoint was saved. */
  onSave?: ((step: number) => void | Promise<void>) | undefined;
  /** A batch was left out, as its loss was not finite. */
  onSkip?: ((error: NonFiniteError) => void | Promise<void>) | undefined;
  /** The run has ended, well or not. */
  onEnd?: (() => void | Promise<void>) | undefined;
}

/** What a trainer works on. */
export interface TrainerOptions extends TrainerCallback {
  model: PeftModel;
  trainDataset: readonly Example[];
  evalDataset?: readonly Example[] | undefined;
  args?: Partial<TrainingArguments> | undefined;
  /** Terms added to the task loss, e.g. `densityLoss({ alpha: 0.05 }, model.base.info.activation)`. */
  auxiliaryLosses?: readonly AuxiliaryLoss[] | undefined;
  /** Default: the head's. The first is the main one. */
  metricNames?: readonly string[] | undefined;
  callbacks?: readonly TrainerCallback[] | undefined;
  /** Where checkpoints are kept, e.g. `checkpointDirectory('out')`. */
  checkpoints?: CheckpointStore | undefined;
  /** Stops the run after the step at hand; a checkpoint is saved where there is a store. */
  signal?: AbortSignal | undefined;
}

/** Result of a run. */
export interface TrainResult {
  /** Steps done, those before a resumption included. */
  steps: number;
  seconds: number;
  /** Steps run here. */
  log: StepLog[];
  /** The last evaluation; undefined without evalDataset. */
  evaluation: EvaluationLog | undefined;
  /** Evaluations on the way, in order, those before a resumption included. */
  evaluations: readonly EvaluationPoint[];
  /** Why it ended. */
  ended: 'done' | 'aborted' | 'early stopping';
  /** Step that it was resumed after; 0: from the start. */
  resumedAfter: number;
  skippedBatches: number;
  /** The best evaluation, by `metricForBestModel` or what an auxiliary loss ranks by. */
  best: { step: number; value: number } | undefined;
}

interface PlannedStep {
  step: number;
  microBatches: number[][];
  firstMicroBatch: number;
  endsEpoch: boolean;
}

/** Trains the trainable parameters of a model. */
export class Trainer {
  private readonly args: TrainingArguments;
  private readonly callbacks: readonly TrainerCallback[];
  private progress: ProgressState = {
    evaluationsWithoutGain: 0,
    plateauFactor: 1,
    skippedBatches: 0,
    auxiliary: {},
  };

  /** @throws DeftuneError naming a training argument out of range, or an empty data set. */
  constructor(private readonly options: TrainerOptions) {
    this.args = trainingArguments(options.args ?? {});
    this.callbacks = [options, ...(options.callbacks ?? [])];
    if (options.trainDataset.length === 0)
      throw new DeftuneError('trainDataset has no examples, expected at least one');
    const { saveSteps, saveEpochs, saveBest, loadBestModelAtEnd } = this.args;
    if ((saveSteps > 0 || saveEpochs || saveBest || loadBestModelAtEnd) && !options.checkpoints) {
      throw new DeftuneError(
        'checkpoints is missing, expected a store where saveSteps, saveEpochs or saveBest ask for one',
      );
    }
    const { head, info } = options.model.base;
    const { labelSmoothing } = this.args;
    if (labelSmoothing > 0 && !head.smoothsLabels(info)) {
      throw new DeftuneError(
        `labelSmoothing is ${labelSmoothing}, expected 0: the loss of ${head.name} with ${info.numLabels} labels has no classes to smooth`,
      );
    }
    const unlabelled = options.trainDataset.findIndex((example) => !head.isLabelled(example));
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
   *
   * @param options.resume go on from the newest checkpoint of the store; from the start where there is none
   * @throws DeftuneError where a loss is NaN or infinite, naming the step and the first tensor that went wrong.
   */
  async train({ resume = false }: { resume?: boolean } = {}): Promise<TrainResult> {
    const { model, trainDataset, signal, checkpoints } = this.options;
    const { args, totalSteps } = this;
    const evalSteps = args.evalSteps < 1 ? Math.ceil(args.evalSteps * totalSteps) : args.evalSteps;
    const { backend } = model.base;
    const groups = parameterGroups(model.trainableParameters(), args.weightDecay, args.noDecay);
    const optimizer = new (optimizerNamed(args.optimizer))(backend, groups, args);
    const rate = schedule(args.lrScheduler);
    const context = { ...args, warmup: warmupSteps(args.warmup, totalSteps), total: totalSteps };
    const log: StepLog[] = [];
    const started = performance.now();
    let evaluation: EvaluationLog | undefined;
    let ended: TrainResult['ended'] = 'done';
    let saved = 0;
    try {
      const resumedAfter = resume ? await this.restore(optimizer) : 0;
      let last = resumedAfter;
      saved = resumedAfter;
      if (last >= totalSteps) evaluation = await this.evaluate(last);
      for (const planned of this.plan(totalSteps)) {
        if (planned.step <= resumedAfter) continue;
        if (signal?.aborted) {
          ended = 'aborted';
          break;
        }
        const { step } = planned;
        const stepStarted = performance.now();
        const lr = args.learningRate * rate(step - 1, context) * this.progress.plateauFactor;
        const examples = await this.ready(
          planned.microBatches.map((rows) => rows.map((row) => trainDataset[row] as Example)),
        );
        const outcome = await this.step(examples, planned, optimizer, lr, totalSteps);
        last = step;
        if (outcome) {
          for (const auxiliary of this.options.auxiliaryLosses ?? []) auxiliary.onStep?.(outcome);
          const entry: StepLog = { step, ...outcome, lr, seconds: (performance.now() - stepStarted) / 1000 };
          log.push(entry);
          for (const callback of this.callbacks) await callback.onStep?.(entry, totalSteps);
        }
        await yieldToEvents();
        const isDue = (evalSteps > 0 && step % evalSteps === 0) || (args.evalEpochs && planned.endsEpoch);
        let isBest = false;
        if (isDue || step === totalSteps) {
          const before = this.progress.best;
          evaluation = (await this.evaluate(step)) ?? evaluation;
          isBest = this.progress.best !== before;
        }
        const keepsBest = isBest && (args.saveBest || args.loadBestModelAtEnd);
        const isSaved = (args.saveSteps > 0 && step % args.saveSteps === 0) || (args.saveEpochs && planned.endsEpoch);
        if (isSaved || keepsBest) {
          await this.save(step, optimizer, isBest);
          saved = step;
        }
        const { earlyStoppingPatience } = args;
        if (
          earlyStoppingPatience > 0 &&
          this.progress.evaluationsWithoutGain >= earlyStoppingPatience &&
          step < totalSteps
        ) {
          ended = 'early stopping';
          break;
        }
      }
      if (ended === 'aborted' && checkpoints && last > saved) await this.save(last, optimizer, false);
      if (args.loadBestModelAtEnd && ended !== 'aborted' && this.progress.best && this.progress.best.step !== last) {
        this.loadParameters(await (checkpoints as CheckpointStore).at(this.progress.best.step));
        evaluation = await this.evaluate(this.progress.best.step);
      }
      const { skippedBatches, best, evaluations = [] } = this.progress;
      const seconds = (performance.now() - started) / 1000;
      return { steps: last, seconds, log, evaluation, evaluations, ended, resumedAfter, skippedBatches, best };
    } finally {
      optimizer.dispose();
      for (const callback of this.callbacks) await callback.onEnd?.();
    }
  }

  /** One step; undefined where its batch was left out. */
  private async step(
    examples: readonly (readonly Example[])[],
    { step, firstMicroBatch }: PlannedStep,
    optimizer: Optimizer,
    lr: number,
    totalSteps: number,
  ): Promise<(StepLosses & { gradNorm: number }) | undefined> {
    const { model, auxiliaryLosses = [] } = this.options;
    for (const auxiliary of auxiliaryLosses) auxiliary.beginStep?.(step, totalSteps);
    const {
      seed,
      labelSmoothing,
      gradientCheckpointing: recompute,
      pooledTokensOnly,
      maxGradNorm,
      skipBadBatches,
    } = this.args;
    try {
      return scope(model.base.backend, () => {
        const settings = { seed, labelSmoothing, recompute, pooledTokensOnly };
        const input = { model: model.base, auxiliaryLosses, step, firstMicroBatch, ...settings };
        const { losses, gradients, gradNorm } = trainingStep(examples, input);
        // As torch.nn.utils.clip_grad_norm_.
        const clip = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
        optimizer.update(gradients, lr, clip);
        return { ...losses, gradNorm };
      });
    } catch (error) {
      if (!(error instanceof NonFiniteError) || this.progress.skippedBatches >= skipBadBatches) throw error;
      this.progress.skippedBatches += 1;
      for (const callback of this.callbacks) await callback.onSkip?.(error);
      return undefined;
    }
  }

  /** Scores evalDataset, and follows what depends on it; undefined where there is none. */
  private async evaluate(step: number): Promise<EvaluationLog | undefined> {
    const { model, evalDataset, metricNames, auxiliaryLosses = [] } = this.options;
    const { args, progress } = this;
    if (!evalDataset?.length) return undefined;
    const result = await evaluate(model.base, evalDataset, { batchSize: args.batchSize, metricNames });
    const entry: EvaluationLog = { eval: true, step, ...result };
    for (const auxiliary of auxiliaryLosses) auxiliary.onEvaluate?.(entry);
    const { loss, metric, density } = entry;
    const point = { step, loss, metric, density };
    // What is evaluated again at the end, the best state or a finished run's, is there already.
    if (!progress.evaluations?.some((known) => known.step === step)) {
      progress.evaluations = [...(progress.evaluations ?? []), point];
    }
    const value = this.bestValue(entry);
    // What an auxiliary loss ranks by may have moved since.
    if (progress.best && this.ranker) progress.best.value = this.ranker.score(progress.best);
    if (progress.best === undefined || value > progress.best.value + args.earlyStoppingThreshold) {
      progress.best = { value, ...point };
      progress.evaluationsWithoutGain = 0;
    } else {
      progress.evaluationsWithoutGain += 1;
      const isPlateau =
        args.lrScheduler === 'reduce_on_plateau' && progress.evaluationsWithoutGain > args.plateauPatience;
      if (isPlateau) {
        progress.plateauFactor *= args.plateauFactor;
        progress.evaluationsWithoutGain = 0;
      }
    }
    for (const callback of this.callbacks) await callback.onEvaluate?.(entry);
    return entry;
  }

  /** The auxiliary loss that ranks evaluations, where one does. */
  private get ranker(): Required<Pick<AuxiliaryLoss, 'score'>> | undefined {
    return this.options.auxiliaryLosses?.find(
      (loss): loss is AuxiliaryLoss & Required<Pick<AuxiliaryLoss, 'score'>> => loss.score !== undefined,
    );
  }

  /** What evaluations are compared by: larger is better. */
  private bestValue(evaluation: EvaluationLog): number {
    if (this.ranker) return this.ranker.score(evaluation);
    const { metric, metrics, loss } = evaluation;
    const name = this.args.metricForBestModel;
    if (name === undefined) return metric;
    if (name === 'loss') return -loss;
    if (metrics[name] !== undefined) return metrics[name];
    const known = ['loss', ...Object.keys(metrics)].join(', ');
    throw new DeftuneError(`metricForBestModel is '${name}', expected one of ${known}`);
  }

  /** The batches of each step, epoch after epoch; an epoch's last step may have fewer. */
  private *plan(totalSteps: number): Generator<PlannedStep> {
    const { batchSize, gradientAccumulationSteps, shuffle, seed } = this.args;
    let step = 0;
    for (let epoch = 0; ; epoch++) {
      const batches = batchIndices(this.options.trainDataset.length, batchSize, { shuffle, seed, epoch });
      for (let first = 0; first < batches.length; first += gradientAccumulationSteps) {
        const firstMicroBatch = step * gradientAccumulationSteps;
        step += 1;
        const microBatches = batches.slice(first, first + gradientAccumulationSteps);
        const endsEpoch = first + gradientAccumulationSteps >= batches.length;
        yield { step, microBatches, firstMicroBatch, endsEpoch };
        if (step === totalSteps) return;
      }
    }
  }

  /** Loads what the examples of a step need, e.g. images. */
  private async ready(microBatches: Example[][]): Promise<(readonly Example[])[]> {
    const { head } = this.options.model.base;
    return Promise.all(microBatches.map(async (examples) => (await head.ready?.(examples)) ?? examples));
  }

  private async save(step: number, optimizer: Optimizer, isBest: boolean): Promise<void> {
    const { model, auxiliaryLosses = [], checkpoints } = this.options;
    this.progress.auxiliary = Object.fromEntries(
      auxiliaryLosses.flatMap((loss) => (loss.state ? [[loss.name, loss.state()]] : [])),
    );
    const parameters: TrainingState['parameters'] = new Map(
      [...model.trainableParameters()].map(([name, parameter]) => [
        name,
        { dtype: 'F32', shape: [...parameter.shape], data: parameter.toFloats() },
      ]),
    );
    const state = { step, optimizer: optimizer.state(), parameters, progress: structuredClone(this.progress) };
    await checkpoints?.save(state, { isBest });
    for (const callback of this.callbacks) await callback.onSave?.(step);
  }

  /** Goes back to the newest checkpoint. @returns its step; 0 where there is none */
  private async restore(optimizer: Optimizer): Promise<number> {
    const { checkpoints, auxiliaryLosses = [] } = this.options;
    if (!checkpoints) throw new DeftuneError('checkpoints is missing, expected the store to resume from');
    const state = await checkpoints.latest();
    if (!state) return 0;
    this.loadParameters(state);
    optimizer.load(state.optimizer);
    this.progress = structuredClone(state.progress);
    for (const loss of auxiliaryLosses) loss.load?.(state.progress.auxiliary[loss.name]);
    return state.step;
  }

  private loadParameters({ parameters, step }: TrainingState): void {
    const own = this.options.model.trainableParameters();
    const names = new Set([...own.keys(), ...parameters.keys()]);
    for (const name of names) {
      const [mine, stored] = [own.get(name), parameters.get(name)];
      if (mine && stored && mine.shape.join() === stored.shape.join()) continue;
      throw new DeftuneError(
        `checkpoint of step ${step}: the parameter ${name} does not fit the model; it was made with other settings`,
      );
    }
    for (const [name, parameter] of own) {
      parameter.backend.writeF32(parameter.handle, (parameters.get(name) as { data: Float32Array }).data);
    }
  }
}
