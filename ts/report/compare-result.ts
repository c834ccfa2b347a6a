import type { ActivationSample } from '../density/activation-sample.js';

/** One logged training step. */
export interface RunLogEntry {
  step: number;
  loss: number;
  taskLoss: number;
  densityLoss: number;
  /** 0..1 */
  density: number;
  lr: number;
  seconds: number;
}

/** The two sides of a comparison: fine-tuning without and with the density loss. */
export type RunVariant = 'PEFT' | 'DEFT';

/** One training run with one seed. */
export interface RunResult {
  variant: RunVariant;
  seed: number;
  /** Weight of DEFT's density loss, where it was given. */
  alpha?: number | undefined;
  metricName: string;
  /** 0..1 */
  metric: number;
  /** 0..1, the mean over layers, after training, on the validation set */
  density: number;
  /** Of an encoder-decoder's two sides. */
  encoderDensity?: number | undefined;
  decoderDensity?: number | undefined;
  /** Validation sets after the first, e.g. MNLI's mismatched one; metric and density as above. */
  otherSets?: { name: string; metricName: string; metric: number; density: number }[] | undefined;
  layerDensity: number[];
  /** Layers whose MLP was skipped, where any was. */
  skippedMlps?: string[] | undefined;
  layerNames: string[];
  seconds: number;
  steps: number;
  log: RunLogEntry[];
  /** The metric (0..1) on the way, for budgets that count from it; the last is that of the run's end. */
  evaluations?: { step: number; metric: number }[] | undefined;
  /** What one layer does for the first validation example, after training; of one seed. */
  activations?: ActivationSample | undefined;
  warnings: string[];
}

/** A whole comparison: what was run, on what, and every run's outcome. */
export interface CompareResult {
  version: string;
  date: string;
  /** One line: instruction set, threads, processor. */
  machine: string;
  model: string;
  data: string;
  /** For example 'LoRA r 8, alpha 16 on query, value'. */
  method: string;
  /** For example 'tanh, feature map, alpha 0.05, beta 20'. */
  density: string;
  trainExamples: number;
  validExamples: number;
  command: string;
  runs: RunResult[];
}
