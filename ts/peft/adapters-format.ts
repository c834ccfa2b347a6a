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
  /** `architecture` in the config; null: bottleneck adapters, which have none. */
  architecture: string | null;
  /** Whether a config of that architecture is of this method; default: it is. */
  isOf?(file: AdaptersConfig): boolean;
  /** @throws DeftuneError naming the field that is not supported */
  configFromFile(file: AdaptersConfig, where: string, model: Model): Config;
  /** The config but for its architecture. @throws DeftuneError with the reason why the settings, or the model they are in, cannot be written so */
  configToFile(config: Config, model: Model): AdaptersConfig;
  /** The method's tensors (the head's left out) by their names in the file, without the adapter's name. */
  savedTensors(model: Model, config: Config, file: AdaptersConfig): Map<string, SavedTensor>;
}

/** All of a format but what tells its configs from others: that is the method's to say. */
export type AdaptersCodec<Config> = Omit<AdaptersFormat<Config>, 'architecture' | 'isOf'>;
