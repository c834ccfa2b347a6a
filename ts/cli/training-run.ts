import { isDeepStrictEqual } from 'node:util';
import type { Backend } from '../backend/backend.js';
import { densityTerm } from '../density/density-term.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { Example } from '../data/batching.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Model } from '../models/model.js';
import { gatePenalty } from '../peft/gate-penalty.js';
import { getPeftModel, type PeftModel } from '../peft/peft-model.js';
import type { CheckpointStore } from '../train/checkpoint.js';
import { checkpointMemory } from '../train/checkpoint-memory.js';
import type { TrainingArguments } from '../train/training-arguments.js';
import { DensityRecorder, type DensityRecord } from '../train/density-recorder.js';
import { evaluate } from '../train/evaluate.js';
import { Trainer, type StepLog, type TrainerOptions, type TrainResult } from '../train/trainer.js';
import { budgetEvaluations, type DensitySettings } from './density-settings.js';
import { gateSettings } from './gate-settings.js';
import type { LabelledFile, LoadedData } from './load-data.js';
import { openModel } from './open-model.js';
import type { RunOptions } from './options.js';
import { truncationNotes } from './output.js';
import type { NamedEvaluation } from './ui/describe-evaluation.js';
import { createProgress } from './ui/progress.js';

/** A finished run, its model still open. */
export interface FinishedRun {
  model: PeftModel;
  result: TrainResult;
  /** The trained model on the validation sets after the first, e.g. MNLI's mismatched one. */
  otherSets: NamedEvaluation[];
  method: string;
  density: string | undefined;
  /** What is saved of it beside the adapter. */
  densityRecord: DensityRecord;
  trainExamples: number;
  validExamples: number;
  /** The first validation example, and what reads its tokens. */
  validExample: Example | undefined;
  tokenizer: Tokenizer | undefined;
  /** What the summary must say: truncated texts, a new head, collapsed predictions. */
  warnings: string[];
  notices: string[];
}

/** How a run keeps checkpoints. */
export interface Saving {
  store(model: PeftModel, recorder: DensityRecorder): CheckpointStore;
  args: Pick<Partial<TrainingArguments>, 'saveSteps' | 'saveEpochs' | 'saveBest' | 'loadBestModelAtEnd'>;
  resume: boolean;
}

/** One run of train or compare. */
export interface TrainingRun {
  options: RunOptions;
  data: LoadedData;
  backend: Backend;
  seed: number;
  /** Undefined: plain PEFT. */
  density: DensitySettings | undefined;
  /** The plain run beside one with that density: its settings are checked, so that they do not fail after this run, and not used. */
  isPlain?: boolean | undefined;
  /** Whether the MLPs get gates; default no. */
  isGated?: boolean | undefined;
  /** Of the progress bar. */
  label: string;
  onStep?: (log: StepLog) => void;
  onEvaluate?: TrainerOptions['onEvaluate'];
  signal?: AbortSignal | undefined;
  callbacks?: TrainerOptions['callbacks'];
  /** Checkpoints, where the run keeps any. */
  saving?: Saving | undefined;
}

/** Opens the model, injects the method, and trains with a progress bar. The caller disposes of the model. */
export async function trainingRun(run: TrainingRun): Promise<FinishedRun> {
  const { options, data, backend, seed, label } = run;
  const notices: string[] = [];
  const { base, peft, prepare, tokenizer, textLimit } = await openModel(options, backend, data.head, {
    ...(data.head.hasLabels
      ? {
          numLabels: data.regression ? 1 : data.labelNames.length,
          labelNames: data.regression ? undefined : data.labelNames,
        }
      : {}),
    dropout: options.dropout,
    // A gate may open again.
    skipMlps: [],
    seed,
    onNotice: (notice) => notices.push(notice),
  });
  try {
    const model = peft ?? inject(run, base, tokenizer);
    if (peft) checkAdapterSettings(run, peft);
    const train = await prepare(data.train as LabelledFile);
    const valid = data.valid && (await prepare(data.valid));
    const { budget } = run.density ?? {};
    const term = run.density && densityTerm(run.density.loss, budget, base.info.activation);
    if (budget && !valid?.examples.length) {
      throw new DeftuneError(
        'density budget: there is no validation data, expected an evaluation set: --valid-file FILE',
      );
    }
    const loss = run.isPlain ? undefined : term;
    const auxiliaryLosses = [...(loss ? [loss] : []), ...gatePenalty(model)];
    const recorder = new DensityRecorder(auxiliaryLosses);
    const store = run.saving?.store(model, recorder) ?? (loss && budget && checkpointMemory());
    const trainer = new Trainer({
      model,
      trainDataset: train.examples,
      evalDataset: valid?.examples,
      metricNames: data.metricNames,
      auxiliaryLosses,
      args: {
        ...budgetEvaluations(options),
        ...definedArguments(options),
        ...run.saving?.args,
        ...(loss && budget ? { loadBestModelAtEnd: true } : {}),
        shuffle: options.shuffle,
        seed,
      },
      checkpoints: store,
      signal: run.signal,
      callbacks: [recorder, ...(run.callbacks ?? [])],
      onStep: (log) => {
        run.onStep?.(log);
        progress.update(log.step, { loss: log.loss, density: log.density, tokensPerSecond: log.tokens / log.seconds });
      },
      onEvaluate: run.onEvaluate,
      onSkip: ({ message }) => {
        notices.push(`a batch was left out: ${message}`);
      },
    });
    const progress = createProgress(trainer.totalSteps, { label });
    const result = await trainer.train({ resume: run.saving?.resume ?? false }).finally(() => {
      progress.stop();
    });
    const otherSets: NamedEvaluation[] = [];
    const truncatedSets: string[] = [];
    for (const set of result.ended === 'aborted' ? [] : data.validSets.slice(1)) {
      const { examples, truncated } = await prepare(set);
      const { metricNames } = data;
      otherSets.push({
        name: set.name,
        evaluation: await evaluate(base, examples, { metricNames, batchSize: options.batchSize }),
      });
      truncatedSets.push(...truncationNotes(truncated, textLimit, set.name));
    }
    const warnings = [
      ...truncationNotes(train.truncated, textLimit, 'training'),
      ...truncationNotes(valid?.truncated ?? 0, textLimit, 'validation'),
      ...truncatedSets,
      ...(result.evaluation?.warnings ?? []),
      ...otherSets.flatMap(({ name, evaluation }) => evaluation.warnings.map((warning) => `${name}: ${warning}`)),
    ];
    return {
      model,
      result,
      otherSets,
      method: model.method.describe(model.config),
      density: loss?.description,
      densityRecord: recorder.record(),
      trainExamples: train.examples.length,
      validExamples: valid?.examples.length ?? 0,
      validExample: valid?.examples[0],
      tokenizer,
      warnings,
      notices,
    };
  } catch (error) {
    base.dispose();
    throw error;
  }
}

function inject({ options, seed, isGated }: TrainingRun, base: Model, tokenizer: Tokenizer | undefined): PeftModel {
  const { promptInitText: text } = options;
  if (text !== undefined && !tokenizer) {
    throw new DeftuneError('--prompt-init-text needs a tokenizer, but the model directory has none');
  }
  const settings = {
    ...methodSettings(options),
    promptTuningInitIds: text === undefined ? undefined : Array.from(tokenizer?.encode(text).inputIds ?? []),
  };
  const layerGates = isGated ? gateSettings(options) : undefined;
  return getPeftModel(base, { method: options.method ?? 'lora', seed, layerGates, ...settings });
}

/** Settings of the method that the command line gives. */
function methodSettings(options: RunOptions): Record<string, unknown> {
  return {
    r: options.loraR,
    loraAlpha: options.loraAlpha,
    loraDropout: options.loraDropout,
    targetModules: options.loraTarget,
    initLoraWeights: /^(true|false)$/.test(options.loraInit ?? '') ? options.loraInit === 'true' : options.loraInit,
    modulesToSave: options.modulesToSave,
    adapterConfig: options.adapterConfig,
    reductionFactor: options.reductionFactor,
    nonLinearity: options.nonLinearity,
    numVirtualTokens: options.numVirtualTokens,
    prefixProjection: options.prefixProjection,
    encoderHiddenSize: options.encoderHiddenSize,
    promptTuningInit: options.promptInit,
    promptTuningInitText: options.promptInitText,
  };
}

/** An adapter brings its own method and settings: options may repeat them, not contradict them. */
function checkAdapterSettings({ options, isGated }: TrainingRun, { method, config, layerGates }: PeftModel): void {
  if (isGated && !layerGates) {
    throw new DeftuneError(
      `--layer-gates is given, but ${options.adapter} has no gates: expected an adapter with gates`,
    );
  }
  if (options.method !== undefined && options.method !== method.name) {
    throw new DeftuneError(`--method is ${options.method}, expected ${method.name} as in ${options.adapter}`);
  }
  const own = config as Record<string, unknown>;
  for (const [name, value] of Object.entries(methodSettings(options))) {
    if (value === undefined || isDeepStrictEqual(value, own[name])) continue;
    throw new DeftuneError(
      `${method.name}: ${name} is ${showValue(value)}, expected ${showValue(own[name])} as in ${options.adapter}, or left out`,
    );
  }
}

function definedArguments(options: RunOptions): TrainerOptions['args'] {
  const given = {
    learningRate: options.lr,
    lrScheduler: options.scheduler,
    warmup: options.warmup,
    weightDecay: options.weightDecay,
    maxGradNorm: options.maxGradNorm,
    epochs: options.epochs,
    maxSteps: options.maxSteps,
    batchSize: options.batchSize,
    gradientAccumulationSteps: options.accumulate,
    evalSteps: options.evalSteps,
    evalEpochs: options.evalEpochs,
    optimizer: options.optimizer,
    momentum: options.momentum,
    noDecay: options.exemptFromDecay,
    cycles: options.cycles,
    power: options.power,
    minimum: options.minimum,
    decaySteps: options.decaySteps,
    metricForBestModel: options.metricForBest,
    earlyStoppingPatience: options.earlyStopping,
    earlyStoppingThreshold: options.earlyStoppingThreshold,
    skipBadBatches: options.skipBadBatches,
    labelSmoothing: options.labelSmoothing,
    gradientCheckpointing: options.gradientCheckpointing,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
