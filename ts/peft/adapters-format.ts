import { DeftuneError } from '../error.js';
import type { Model } from '../models/model.js';
import { headParameters } from './head-parameters.js';
import type { TensorValues } from './saved-tensor.js';

// The directory format of AdapterHub's `adapters` (https://docs.adapterhub.ml/loading.html), facts from its version 1.3.0.

/** What an adapter directory of `adapters` holds, with the adapter's name taken out of the tensors' names. */
export interface AdaptersFile {
  /** `config` of adapter_config.json. */
  config: Readonly<Record<string, unknown>>;
  /** Tensors of the adapter. */
  tensors: ReadonlyMap<string, TensorValues>;
  /** Tensors of the head by their names in the model; empty where none is stored. */
  head: ReadonlyMap<string, TensorValues>;
}

/** How a method is written in that format. */
export interface AdaptersFormat<Config> {
  /** `architecture` in the config; null: bottleneck adapters, which have none. */
  architecture: string | null;
  /** What stands before the head's names in the method's own keys. */
  headPrefix: string;
  /** @throws DeftuneError naming the field that is not supported */
  configFromFile(config: Readonly<Record<string, unknown>>, where: string, model: Model): Config;
  /** The file's tensors by the method's own keys, those of the head left out. */
  tensorsFromFile(file: AdaptersFile, config: Config, model: Model, where: string): Map<string, TensorValues>;
  /** @throws DeftuneError with the reason why the settings cannot be written so */
  configToFile(config: Config, model: Model): Record<string, unknown>;
  /** The method's tensors (the head's left out) by their names in the file, without the adapter's name. */
  tensorsToFile(tensors: ReadonlyMap<string, TensorValues>, config: Config, model: Model): Map<string, TensorValues>;
}

/**
 * The head's tensors for a method that trains the head: those of the file, or the model's own where the file has none.
 *
 * @throws DeftuneError where the file's head is another one
 */
export function headOfFile({ head }: AdaptersFile, model: Model, where: string): Map<string, TensorValues> {
  const own = headParameters(model);
  const found = new Map<string, TensorValues>();
  for (const [name, parameter] of own) {
    const stored = head.get(name);
    if (!stored && head.size > 0) {
      throw new DeftuneError(
        `${where}: ${name} is missing in the stored head, expected that of ${model.info.architecture}`,
      );
    }
    found.set(name, stored ?? { shape: parameter.storedShape, values: parameter.toStored() });
  }
  return found;
}
