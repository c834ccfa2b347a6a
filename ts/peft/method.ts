import type { Model } from '../models/model.js';
import type { AdaptersFormat } from './adapters-format.js';
import type { SavedTensor } from './saved-tensor.js';

/**
 * A method of fine-tuning: one file, one line in `peft/index.ts`. Every method has the same verbs.
 *
 * @typeParam Config its validated settings
 */
export interface PeftMethod<Config> {
  name: string;
  /** `peft_type` in adapter_config.json, where peft knows the method. */
  peftType?: string;
  /** Its files in the format of AdapterHub's `adapters`, where that knows the method. */
  adapters?: AdaptersFormat<Config>;
  /** Why peft's files cannot hold an adapter, where they cannot; it is then written in the format of `adapters`. */
  whyNotPeft?(config: Config, model: Model): string | undefined;
  /** File of the saved tensors; default adapter_model.safetensors. `model.safetensors` makes the directory a model of its own. */
  weightsFile?: string;
  /** Whether a model with it can become a plain one: its changes, if any, are layers that know how to merge. */
  isMergeable?: boolean;
  /** Settings with defaults filled in. @throws DeftuneError naming the field, its value and what is allowed. */
  configure(options: Readonly<Record<string, unknown>>, model: Model): Config;
  /** Settings from an adapter_config.json. */
  configFromFile?(file: Readonly<Record<string, unknown>>, name: string, model: Model): Config;
  /** Positions of the model's longest sequence that it takes for itself; default 0. */
  virtualTokens?(config: Config): number;
  /** Changes the model's modules and marks what is trainable (everything is frozen before). */
  inject(model: Model, config: Config, seed: number): void;
  /** Key in adapter_model.safetensors of each tensor to save. */
  savedParameters(model: Model, config: Config): Map<string, SavedTensor>;
  /** Where the tensors of a file that peft wrote go; default: where those of {@link savedParameters} come from. */
  loadedParameters?(model: Model, config: Config): Map<string, SavedTensor>;
  /** adapter_config.json as peft writes it. */
  configToFile?(model: Model, config: Config, baseModel: string): Record<string, unknown>;
  /** One line for tables: `LoRA r 8, alpha 16 on query, value`. */
  describe(config: Config): string;
}
