import { z } from 'zod';
import { validate } from '../io/validate.js';
import { schedule } from './schedule.js';

/** Settings of a training run, named as in transformers' `TrainingArguments`. */
export interface TrainingArguments {
  /** Peak learning rate; default 1e-3. */
  learningRate: number;
  /** `linear` (warm-up, then decay to 0) or `constant` (after warm-up); default linear. */
  lrScheduler: string;
  /** Warm-up steps (1 or more) or share of the run (below 1); default 0. */
  warmup: number;
  /** Passes over the data; default 3. Ignored where maxSteps is set. */
  epochs: number;
  /** Steps of the run; 0 (default): by epochs. */
  maxSteps: number;
  /** Sequences a micro-batch; default 32. */
  batchSize: number;
  /** Micro-batches a step, their losses averaged; default 1. */
  gradientAccumulationSteps: number;
  /** Gradients are scaled to this norm at most; 0: off; default 1. */
  maxGradNorm: number;
  /** AdamW's decoupled weight decay; default 0. */
  weightDecay: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** Order of the data and dropout; default 0. */
  seed: number;
  /** Whether the data are shuffled each epoch; default true. */
  shuffle: boolean;
  /** Evaluate each N steps; 0: not by steps; default 0. */
  evalSteps: number;
  /** Evaluate after each epoch; default false. The end of a run is always evaluated where there are data for it. */
  evalEpochs: boolean;
}

const schema = z.strictObject({
  learningRate: z.number().min(0).max(10).default(1e-3),
  lrScheduler: z.string().default('linear'),
  warmup: z
    .number()
    .min(0)
    .refine((value) => value < 1 || Number.isInteger(value), 'expected whole steps, or a share of the run below 1')
    .default(0),
  epochs: z.number().positive().max(1e6).default(3),
  maxSteps: z.int().min(0).default(0),
  batchSize: z.int().min(1).max(65_536).default(32),
  gradientAccumulationSteps: z.int().min(1).max(65_536).default(1),
  maxGradNorm: z.number().min(0).default(1),
  weightDecay: z.number().min(0).max(1).default(0),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  eps: z.number().positive().default(1e-8),
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  shuffle: z.boolean().default(true),
  evalSteps: z.int().min(0).default(0),
  evalEpochs: z.boolean().default(false),
});

/** Fills in defaults. @throws DeftuneError naming the field, its value and the range. */
export function trainingArguments(given: Partial<TrainingArguments>): TrainingArguments {
  const defined = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const args = validate(schema, defined, 'training arguments');
  schedule(args.lrScheduler);
  return args;
}
