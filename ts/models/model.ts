import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { Module } from '../nn/module.js';
import { crossEntropy, meanSquaredError } from '../ops/task-losses.js';
import { Tensor } from '../tensor/tensor.js';
import type { NameRules, TensorSource } from './weights.js';

/** What a model says about itself beyond its parameters. */
export interface ModelInfo {
  modelType: string;
  /** Class name in transformers. */
  architecture: string;
  /** Sequences are cut to this many tokens. */
  maxLength: number;
  vocabSize: number;
  numLabels: number;
  /** Label names by index. */
  labelNames: readonly string[];
  activation: string;
  /** Paths of the parameters that make up the task's head; peft saves them with the adapter. */
  headModules: readonly string[];
  /** peft's default `target_modules` for LoRA. */
  loraTargets: readonly string[];
  /** Initial range of new weights. */
  initializerRange: number;
  /** The directory's config.json, to be written with a full checkpoint. */
  config: Readonly<Record<string, unknown>>;
}

/** A model that labels sequences, and can be trained to. */
export abstract class SequenceClassificationModel extends Module {
  abstract readonly info: ModelInfo;
  abstract readonly backend: Backend;

  /** logits [sequences, numLabels] */
  abstract forward(batch: RaggedBatch, context: ForwardContext): Tensor;

  /** Mean cross-entropy, or mean squared error for one label (regression), as in transformers. */
  taskLoss(logits: Tensor, labels: Int32Array | Float32Array): Tensor {
    if (this.info.numLabels === 1) {
      return meanSquaredError(logits, Tensor.fromFloats(this.backend, Float32Array.from(labels), [labels.length, 1]));
    }
    return crossEntropy(logits, Tensor.fromInts(this.backend, Int32Array.from(labels)));
  }
}

/** Options for opening a model. */
export interface ModelOptions {
  /** Width of the head; default: the checkpoint's, else 2. One label means regression. */
  numLabels?: number | undefined;
  /** Names of the labels by index; default: `id2label` of the config. */
  labelNames?: readonly string[] | undefined;
  /** Overrides every dropout probability of the config. */
  dropout?: number | undefined;
  /** Seed of the new head's weights; default 0. */
  seed?: number | undefined;
  /** Told what is worth knowing, e.g. that a new head was made. */
  onNotice?: ((notice: string) => void) | undefined;
}

/** A family of models: one file, one line in `models/index.ts`. */
export interface ModelFamily {
  /** `model_type` of config.json. */
  modelType: string;
  names: NameRules;
  /** @throws DeftuneError naming the field of the config that is missing or not supported. */
  build(
    backend: Backend,
    config: Record<string, unknown>,
    source: TensorSource,
    options: ModelOptions,
  ): SequenceClassificationModel;
}
