import { z } from 'zod';
import { validate } from '../io/validate.js';
import { optimizerNamed, type OptimizerOptions } from './optimizer.js';
import { schedule } from './schedule.js';

/** Settings of a training run, named as in transformers' `TrainingArguments`. */
export interface TrainingArguments extends OptimizerOptions {
  /** Peak learning rate; default 1e-3. */
  learningRate: number;
  /** `adamw` (default) or `sgd`. */
  optimizer: string;
  /** Ends of parameter names that are not decayed, e.g. `bias`; default: none, all are decayed. */
  noDecay: readonly string[];
  /**
   * linear (default), constant, cosine, cosine_with_restarts, polynomial, inverse_sqrt, warmup_stable_decay or reduce_on_plateau; each
   * after the warm-up.
   */
  lrScheduler: string;
  /** cosine: waves, default 0.5; cosine_with_restarts: restarts, default 1. */
  cycles?: number | undefined;
  /** polynomial: exponent; default 1. */
  power?: number | undefined;
  /** polynomial: last factor on the rate, default 1e-4; warmup_stable_decay: lowest factor, default 0. */
  minimum?: number | undefined;
  /** warmup_stable_decay: steps of the decay; default a tenth of the run. */
  decaySteps?: number | undefined;
  /** reduce_on_plateau: factor on the rate after `plateauPatience` evaluations without gain; default 0.1. */
  plateauFactor: number;
  /** Default 10. */
  plateauPatience: number;
  /** Warm-up steps (1 or more) or share of the run (below 1); default 0. */
  warmup: number;
  /** Passes over the data; default 3. Ignored where maxSteps is set. */
  epochs: number;
  /** Steps of the run; 0 (default): by epochs. */
  maxSteps: number;
  /** Sequences a micro-batch; default 32. */
  batchSize: number;
  /** Micro-batches a step, their losses averaged over all labels; default 1. */
  gradientAccumulationSteps: number;
  /**
   * Share of each label that is spread over all classes, 0 to 1 (torch's `label_smoothing`); default 0. Evaluations report the loss without.
   */
  labelSmoothing: number;
  /** Layers make their activations again in the backward pass instead of keeping them: same numbers, less memory, more time; default false. */
  gradientCheckpointing: boolean;
  /**
   * The last layer runs for those tokens alone that the head reads, where it is one of each sequence (classifiers of texts and images): with BERT's 12
   * layers a step is 6 % shorter, and densities are over what ran. Default false. Not with auxiliary losses, which are over every token.
   */
  pooledTokensOnly: boolean;
  /** Gradients are scaled to this norm at most; 0: off; default 1. */
  maxGradNorm: number;
  /** Order of the data and dropout; default 0. */
  seed: number;
  /** Whether the data are shuffled each epoch; default true. */
  shuffle: boolean;
  /** Evaluate each N steps, or (below 1) after each such share of the run; 0: not by steps; default 0. */
  evalSteps: number;
  /** Evaluate after each epoch; default false. The end of a run is always evaluated where there are data for it. */
  evalEpochs: boolean;
  /** Save a checkpoint each N steps; 0: not by steps; default 0. Needs a checkpoint store. */
  saveSteps: number;
  /** Save a checkpoint after each epoch; default false. */
  saveEpochs: boolean;
  /** Save a checkpoint whenever an evaluation is the best so far; default false. */
  saveBest: boolean;
  /** Load the best evaluation's parameters at the end; implies saveBest; default false. */
  loadBestModelAtEnd: boolean;
  /** What "best" means: `loss` (smaller is better) or a metric (larger is better); default: the main metric. */
  metricForBestModel?: string | undefined;
  /** Stop after N evaluations without gain; 0 (default): never. */
  earlyStoppingPatience: number;
  /** Least gain that counts; default 0. */
  earlyStoppingThreshold: number;
  /** Batches whose loss is not finite that are left out before the run stops; default 0. */
  skipBadBatches: number;
}

const stepsOrShare = z
  .number()
  .min(0)
  .refine((value) => value < 1 || Number.isInteger(value), 'expected whole steps, or a share of the run below 1');

const schema = z.strictObject({
  learningRate: z.number().min(0).max(10).default(1e-3),
  optimizer: z.string().default('adamw'),
  noDecay: z.array(z.string().min(1)).default([]),
  lrScheduler: z.string().default('linear'),
  cycles: z.number().positive().optional(),
  power: z.number().positive().optional(),
  minimum: z.number().min(0).max(1).optional(),
  decaySteps: z.int().min(0).optional(),
  plateauFactor: z.number().positive().lt(1).default(0.1),
  plateauPatience: z.int().min(0).default(10),
  warmup: stepsOrShare.default(0),
  epochs: z.number().positive().max(1e6).default(3),
  maxSteps: z.int().min(0).default(0),
  batchSize: z.int().min(1).max(65_536).default(32),
  gradientAccumulationSteps: z.int().min(1).max(65_536).default(1),
  labelSmoothing: z.number().min(0).max(1).default(0),
  gradientCheckpointing: z.boolean().default(false),
  pooledTokensOnly: z.boolean().default(false),
  maxGradNorm: z.number().min(0).default(1),
  weightDecay: z.number().min(0).max(1).default(0),
  momentum: z.number().min(0).lt(1).default(0),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  eps: z.number().positive().default(1e-8),
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  shuffle: z.boolean().default(true),
  evalSteps: stepsOrShare.default(0),
  evalEpochs: z.boolean().default(false),
  saveSteps: z.int().min(0).default(0),
  saveEpochs: z.boolean().default(false),
  saveBest: z.boolean().default(false),
  loadBestModelAtEnd: z.boolean().default(false),
  metricForBestModel: z.string().optional(),
  earlyStoppingPatience: z.int().min(0).default(0),
  earlyStoppingThreshold: z.number().min(0).default(0),
  skipBadBatches: z.int().min(0).default(0),
});

/** Fills in defaults. @throws DeftuneError naming the field, its value and the range. */
export function trainingArguments(given: Partial<TrainingArguments>): TrainingArguments {
  const defined = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const args = validate(schema, defined, 'training arguments');
  schedule(args.lrScheduler);
  optimizerNamed(args.optimizer);
  return args;
}
