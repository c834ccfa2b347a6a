import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import type { Head, HeadInfo, HeadOutput } from '../heads/head.js';
import type { ActivationThresholds } from '../nn/activation-thresholds.js';
import type { ForwardContext } from '../nn/forward-context.js';
import type { Precision } from '../nn/freeze-weights.js';
import { Module } from '../nn/module.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Decoding } from './decoding.js';
import type { TensorSource } from './weights.js';

/** What a linear layer of a transformer is for: projections of attention, those of a model in one, and the MLP's two. */
export type LinearRole = 'q' | 'k' | 'v' | 'qkv' | 'intermediate' | 'output';

/** What a model says about itself beyond its parameters. */
export interface ModelInfo extends HeadInfo {
  modelType: string;
  /** Class name in transformers. */
  architecture: string;
  activation: string;
  /** Paths of the modules that make up the task's head and are trained whole; peft saves them with the adapter. */
  headModules: readonly string[];
  /** peft's default `target_modules` for LoRA. */
  loraTargets: readonly string[];
  /** peft's default `target_modules` and `feedforward_modules` for IA3, where it has them. */
  ia3?: { targets: readonly string[]; feedforward: readonly string[] };
  /** Linear layers by what they are for: expressions on their paths. */
  linears: Readonly<Partial<Record<LinearRole, RegExp>>>;
  /** A module's path in files of transformers 4, where version 5 has another. */
  formerPath?: (path: string) => string;
  /** The other way. */
  presentPath?: (path: string) => string;
  /** Tokens that end a text, as generation_config.json or else config.json says; none: texts end at the limit alone. */
  eosTokenIds?: readonly number[];
  /** Initial range of new weights. */
  initializerRange: number;
  /** The directory's config.json, to be written with a full checkpoint. */
  config: Readonly<Record<string, unknown>>;
}

/** A transformer with a head, which can be run and trained. */
export abstract class Model extends Module {
  abstract readonly info: ModelInfo;
  abstract readonly head: Head;
  abstract readonly backend: Backend;
  /** How frozen weights are stored from the first run or the injection of a PEFT method on; see `freezeWeights`. */
  precision: Precision = 'f32';
  /** The activation that its MLPs were given in place of the checkpoint's; see {@link ModelOptions.activation}. */
  swappedActivation: string | undefined;

  /** logits, as many rows as the head says: [sequences, numLabels], [labelled tokens, vocabSize], ... */
  abstract forward(batch: RaggedBatch, context: ForwardContext): Tensor;

  /** Mean task loss [1, 1] of a labelled batch, as in transformers. */
  taskLoss(batch: RaggedBatch, context: ForwardContext): Tensor {
    return this.head.loss(this.forward(batch, context), batch, context.labelSmoothing);
  }

  /** One output an example, without gradients. */
  outputs(batch: RaggedBatch, context: ForwardContext): HeadOutput[] {
    return this.head.outputs(this.forward(batch, context), batch);
  }

  /**
   * Begins to write after prompts; undefined where the head writes no text.
   *
   * @param prompts token ids, at least one each; of the encoder where there is one
   * @throws DeftuneError where the config does not say what a decoder needs, e.g. its first token.
   */
  startDecoding?(prompts: readonly ArrayLike<number>[]): Decoding;
}

/** Options for opening a model. */
export interface ModelOptions {
  /** Width of the head; default: the checkpoint's, else 2. One label means regression. */
  numLabels?: number | undefined;
  /** Names of the labels by index; default: `id2label` of the config. */
  labelNames?: readonly string[] | undefined;
  /** Overrides every dropout probability of the config. */
  dropout?: number | undefined;
  /** Content of generation_config.json, where there is one. */
  generationConfig?: Readonly<Record<string, unknown>> | undefined;
  /** Seed of the new head's weights; default 0. */
  seed?: number | undefined;
  /**
   * Activation of the MLPs in place of the checkpoint's, e.g. `relu` for GELU: the weights were not made for it, so that the model needs training
   * before it is of use again (Mirzadeh et al. 2024, ReLU Strikes Back). Default: what config.json says.
   */
  activation?: string | undefined;
  /** As for `setActivationThresholds`; default none. */
  activationThresholds?: ActivationThresholds | number | undefined;
  /** How frozen weights are stored: `f32` (default), or `bf16` in half the memory. What is trained stays f32. */
  precision?: Precision | undefined;
  /** Layers whose MLP is left out, e.g. `encoder.layer.1`: it adds nothing, and its weights are not read. Default none. */
  skipMlps?: readonly string[] | undefined;
  /** Told what is worth knowing, e.g. that a new head was made. */
  onNotice?: ((notice: string) => void) | undefined;
}

/** A head that a family offers, and the class names in transformers that stand for it. */
export interface FamilyHead {
  head: Head;
  /** The first is written to config.json. */
  architectures: readonly [string, ...string[]];
  /** Tensor whose rows are the labels; undefined where the head has no labels. */
  labelTensor?: string;
}

/** A family of models: one file, one line in `models/index.ts`. */
export interface ModelFamily {
  /** `model_type` of config.json. */
  modelType: string;
  /** config.json with another activation of the MLPs. */
  withActivation(config: Readonly<Record<string, unknown>>, name: string): Record<string, unknown>;
  /** The first is used for a checkpoint without a head. */
  heads: readonly [FamilyHead, ...FamilyHead[]];
  /** @throws DeftuneError naming the field of the config that is missing or not supported. */
  build(
    backend: Backend,
    config: Record<string, unknown>,
    source: TensorSource,
    head: FamilyHead,
    options: ModelOptions,
  ): Model;
}
