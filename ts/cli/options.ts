import { Command, InvalidArgumentError, Option } from 'commander';
import type { BackendOptions } from '../backend/backend.js';
import { TASKS } from '../data/tasks/index.js';
import { ALPHA_SCHEDULERS, type AlphaScheduler } from '../density/alpha-schedule.js';
import { DENSITY_LOSSES } from '../density/losses/index.js';
import type { Precision } from '../nn/freeze-weights.js';
import { METHOD_NAMES } from '../peft/index.js';
import { SCHEDULE_NAMES } from '../train/schedule.js';
import { downloadModelPaths } from './download-model-paths.js';

/** A number; the range is checked where the value is used. */
export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError(`'${text}' is not a number.`);
  return value;
}

/** A whole number from 0. */
export function integer(text: string): number {
  const value = number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError(`'${text}' is not a whole number from 0.`);
  return value;
}

/** Whole numbers separated by commas. */
export function integers(text: string): number[] {
  return text.split(',').map(integer);
}

/** Numbers separated by commas. */
export function numbers(text: string): number[] {
  return text.split(',').map(number);
}

/** Names separated by commas. */
export function list(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

/** Names separated by commas, or one regular expression or `all-linear`. */
export function targets(text: string): string | string[] {
  const isPattern = /[\\^$*+?()[\]{}|]/.test(text) || text === 'all-linear';
  return isPattern ? text : list(text);
}

/** Options that every command understands. */
export interface CommonOptions extends BackendOptions {
  json?: boolean;
  debug?: boolean;
}

/** --backend, --threads, --json and --debug. */
export function addCommonOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--backend <name>', 'native or wasm (default: native, else wasm)').choices(['native', 'wasm']),
    )
    .option('--threads <n>', 'threads, 1 to 256 (default: all cores)', integer)
    .option('--json', 'print the result as JSON')
    .option('--debug', 'show the stack of an error');
}

/** --model and --adapter. */
export interface ModelPathOptions {
  model: string;
  adapter?: string;
  precision?: Precision;
  activation?: string;
  activationThresholds?: string;
  head?: string;
  revision?: string;
  skipThreshold?: number;
}

export function addModelOptions(command: Command): Command {
  return command
    .requiredOption('--model <dir>', 'Hugging Face model directory, or the name of a model on the hub')
    .option('--adapter <dir>', 'adapter directory of peft or AdapterHub, or its name on the hub')
    .addOption(
      new Option(
        '--precision <name>',
        'f32, or bf16: frozen weights in half the memory, what is trained stays f32 (default: f32)',
      ).choices(['f32', 'bf16']),
    )
    .option(
      '--activation <name>',
      "activation of the MLPs in place of the model's, e.g. relu (default: the adapter's, else the model's)",
    )
    .option(
      '--activation-thresholds <file>',
      "file of calibrate, or one number for all MLPs: smaller activations become zeros (default: the adapter's)",
    )
    .option('--revision <name>', 'branch, tag or commit of a model on the hub (default: main)')
    .option(
      '--head <name>',
      "head to open, e.g. SequenceClassification (default: the adapter's, the data's or the model's)",
    )
    .option(
      '--skip-threshold <x>',
      "layer gates: MLPs whose gate is at most this are skipped at inference, 0 to 1 (default: the adapter's, 0.05)",
      number,
    )
    .hook('preAction', downloadModelPaths);
}

/** Where labelled data come from. */
export interface DataOptions {
  task?: string;
  data?: string;
  trainFile?: string;
  validFile?: string;
}

/** Settings of a run, shared by train and compare. */
export interface RunOptions extends CommonOptions, ModelPathOptions, DataOptions {
  method?: string;
  densityForm?: 'feature-map' | 'element';
  alpha?: number;
  alphaScheduler?: AlphaScheduler;
  alphaWarmup?: number;
  layerWeights?: number[];
  encoderWeight?: number;
  decoderWeight?: number;
  maxMetricDrop?: number;
  targetDensity?: number;
  hingeMargin?: number;
  hingeTop?: number;
  layerGates?: boolean;
  gatePenalty?: number;
  gateRate?: number;
  beta?: number;
  eps?: number;
  lr?: number;
  scheduler?: string;
  warmup?: number;
  weightDecay?: number;
  maxGradNorm?: number;
  epochs?: number;
  maxSteps?: number;
  batchSize?: number;
  accumulate?: number;
  shuffle: boolean;
  dropout?: number;
  evalSteps?: number;
  evalEpochs?: boolean;
  optimizer?: string;
  momentum?: number;
  exemptFromDecay?: string[];
  cycles?: number;
  power?: number;
  minimum?: number;
  decaySteps?: number;
  metricForBest?: string;
  earlyStopping?: number;
  earlyStoppingThreshold?: number;
  skipBadBatches?: number;
  labelSmoothing?: number;
  gradientCheckpointing?: boolean;
  loraR?: number;
  loraAlpha?: number;
  loraDropout?: number;
  loraTarget?: string | string[];
  loraInit?: string;
  modulesToSave?: string[];
  adapterConfig?: string;
  reductionFactor?: number;
  nonLinearity?: string;
  numVirtualTokens?: number;
  prefixProjection?: boolean;
  encoderHiddenSize?: number;
  promptInit?: string;
  promptInitText?: string;
}

export function addDataOptions(command: Command): Command {
  return command
    .option('--task <name>', `benchmark task, with --data: ${TASKS.map(({ name }) => name).join(', ')}`)
    .option('--data <dir>', "folder of the task's files")
    .option('--train-file <file>', 'training records: JSONL, CSV, TSV, Parquet, JSON, or a folder of images')
    .option('--valid-file <file>', 'validation records');
}

/** @param settings.severalAlphas whether --alpha takes a list: a sweep */
export function addRunOptions(command: Command, settings: { severalAlphas?: boolean } = {}): Command {
  addDataOptions(addModelOptions(addCommonOptions(command)));
  command.option('--method <name>', `${METHOD_NAMES.join(', ')} (default: lora)`);
  return addTrainingOptions(command, settings);
}

/** --density, of a command whose runs are PEFT and DEFT. */
export function addDensityOption(command: Command): Command {
  return command.addOption(
    new Option('--density <loss>', "density loss of DEFT (default: by the model's activation)").choices(DENSITY_LOSSES),
  );
}

/** What a run does, whatever its model, data and method. */
export function addTrainingOptions(command: Command, { severalAlphas = false } = {}): Command {
  return command
    .option('--config <file>', 'YAML or JSON file of options by name, e.g. `lr: 1e-3`; the command line wins')
    .addOption(
      new Option(
        '--density-form <form>',
        "feature-map (the paper) or element (the authors' code); default: feature-map",
      ).choices(['feature-map', 'element']),
    )
    .addOption(
      new Option(
        severalAlphas ? '--alpha <list>' : '--alpha <x>',
        `weight of the density loss${severalAlphas ? ', of several, by comma, each is run' : ''} (default: 0.05; with a budget, where the search starts: 0.03)`,
      ).argParser<number | number[]>(severalAlphas ? numbers : number),
    )
    .addOption(
      new Option('--alpha-scheduler <name>', 'how alpha rises: constant (default), linear, sine').choices(
        ALPHA_SCHEDULERS,
      ),
    )
    .option('--alpha-warmup <n>', 'steps, or a share of the run below 1, of that rise (default: 0.5)', number)
    .option('--layer-weights <list>', "factors on the layers' density losses, by comma (default: 1 each)", numbers)
    .option('--encoder-weight <x>', "factor on the encoder's density loss (default: 1)", number)
    .option('--decoder-weight <x>', "factor on the decoder's density loss (default: 1)", number)
    .option('--max-metric-drop <points>', 'find alpha by itself: the lowest density at this cost of the metric', number)
    .option('--target-density <share>', 'find alpha by itself: a density (0 to 1) that is enough', number)
    .option('--hinge-margin <x>', 'hinge: pre-activations are pushed below minus this (default: 6)', number)
    .option('--hinge-top <x>', 'hinge: pre-activations above this are left to the task (default: 0)', number)
    .option(
      '--layer-gates',
      'learn a gate for each MLP; those that close are skipped at inference (compare: DEFT alone)',
    )
    .option('--gate-penalty <x>', 'weight of the penalty that closes gates (default: 0.03)', number)
    .option('--gate-rate <x>', "factor on the gates' learning rate (default: 20)", number)
    .option('--beta <x>', 'steepness of tanh (default: 20)', number)
    .option('--eps <x>', 'eps of l0 (default: 1e-7)', number)
    .option('--lr <x>', 'peak learning rate (default: 1e-3)', number)
    .option('--scheduler <name>', `${SCHEDULE_NAMES.join(', ')} (default: linear)`)
    .option('--cycles <x>', 'waves of cosine (default: 0.5), runs of cosine_with_restarts (default: 1)', number)
    .option('--power <x>', 'exponent of polynomial (default: 1)', number)
    .option('--minimum <x>', 'lowest share of the rate, for polynomial and warmup_stable_decay', number)
    .option('--decay-steps <n>', 'steps of the decay of warmup_stable_decay (default: a tenth)', integer)
    .option('--optimizer <name>', 'adamw or sgd (default: adamw)')
    .option('--momentum <x>', "SGD's momentum (default: 0)", number)
    .option('--warmup <n>', 'warm-up steps, or a share of the run below 1 (default: 0)', number)
    .option('--weight-decay <x>', 'weight decay (default: 0)', number)
    .option('--exempt-from-decay <names>', 'ends of parameter names that are not decayed, by comma, e.g. bias', list)
    .option('--max-grad-norm <x>', 'clip gradients to this norm, 0: off (default: 1)', number)
    .option('--label-smoothing <x>', 'share of each label spread over all classes, 0 to 1 (default: 0)', number)
    .option('--gradient-checkpointing', 'make activations again in the backward pass: same results, less memory')
    .option('--epochs <x>', 'passes over the data (default: 3)', number)
    .option('--max-steps <n>', 'steps of the run, instead of --epochs', integer)
    .option('--batch-size <n>', 'sequences a batch (default: 32)', integer)
    .option('--accumulate <n>', 'batches a step (default: 1)', integer)
    .option('--no-shuffle', 'keep the order of the data')
    .option('--dropout <p>', "override the model's dropout", number)
    .option('--eval-steps <n>', 'evaluate each N steps, or each such share of the run below 1', number)
    .option('--eval-epochs', 'evaluate after each epoch')
    .option('--metric-for-best <name>', 'loss or a metric: what the best evaluation is (default: the main metric)')
    .option('--early-stopping <n>', 'stop after N evaluations that are no better (default: never)', integer)
    .option('--early-stopping-threshold <x>', 'least gain that counts (default: 0)', number)
    .option('--skip-bad-batches <n>', 'batches with a loss that is no number to leave out (default: 0)', integer)
    .option('--lora-r <n>', 'rank (default: 8)', integer)
    .option('--lora-alpha <x>', 'scale is alpha / r (default: 16)', number)
    .option('--lora-dropout <p>', 'dropout on the low-rank path (default: 0)', number)
    .option(
      '--lora-target <names>',
      "modules: names by comma, a regular expression, or all-linear (default: peft's)",
      targets,
    )
    .option('--lora-init <name>', 'true, false, gaussian, orthogonal, olora, pissa or pissa_niter_N (default: true)')
    .option('--modules-to-save <names>', 'lora, ia3: modules trained whole beside the head, by comma', list)
    .option('--adapter-config <name>', 'bottleneck: seq_bn, double_seq_bn or par_bn (default: seq_bn)')
    .option(
      '--reduction-factor <x>',
      "bottleneck: the model's width over the adapter's (default: the config's)",
      number,
    )
    .option('--non-linearity <name>', "bottleneck: activation (default: the config's)")
    .option('--num-virtual-tokens <n>', 'prefix-tuning, prompt-tuning: tokens (default: 20)', integer)
    .option('--prefix-projection', 'prefix-tuning: train through an MLP')
    .option('--encoder-hidden-size <n>', "prefix-tuning: that MLP's width (default: the model's)", integer)
    .option('--prompt-init <how>', 'prompt-tuning: RANDOM, TEXT or SAMPLE_VOCAB (default: RANDOM)')
    .option('--prompt-init-text <text>', 'prompt-tuning: text that the prompt begins as');
}
