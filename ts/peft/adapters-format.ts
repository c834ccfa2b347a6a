import type { Model } from '../models/model.js';
import type { SavedTensor, TensorValues } from './saved-tensor.js';

// The directory format of AdapterHub's `adapters` (https://docs.adapterhub.ml/loading.html), facts from its version 1.3.0.

/** `config` of an adapter_config.json of `adapters`. */
export type AdaptersConfig = Readonly<Record<string, unknown>>;

/** What an adapter directory of `adapters` holds, with the adapter's name taken out of the tensors' names. */
export interface AdaptersFile {
  config: AdaptersConfig;
  /** Tensors of the adapter. */
  tensors: ReadonlyMap<string, TensorValues>;
  /** Tensors of the head by their names in the model; empty where none is stored. */
  head: ReadonlyMap<string, TensorValues>;
}

/** How a method is written in that format. */
export interface AdaptersFormat<Config> {
  /** What the config is recognised by, for messages: its `architecture`, and what else tells it from another method. */
  description: string;
  /** Whether a config is of this method. */
  isOf(file: AdaptersConfig): boolean;
  /** @throws DeftuneError naming the field that is not supported */
  configFromFile(file: AdaptersConfig, where: string, model: Model): Config;
  /** @throws DeftuneError with the reason why the settings, or the model they are in, cannot be written so */
  configToFile(config: Config, model: Model): Record<string, unknown>;
  /** The method's tensors (the head's left out) by their names in the file, without the adapter's name. */
  savedTensors(model: Model, config: Config, file: AdaptersConfig): Map<string, SavedTensor>;
}
