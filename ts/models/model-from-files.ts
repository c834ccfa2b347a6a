import type { Backend } from '../backend/backend.js';
import { parseJson } from '../io/parse-json.js';
import { parseSafetensors } from '../io/safetensors.js';
import { buildModel, configFields, type BuildOptions } from './build-model.js';
import type { Model } from './model.js';

/** A model's files, in memory. */
export interface ModelFiles {
  /** Text of config.json. */
  configJson: string;
  /** Text of generation_config.json, where there is one. */
  generationConfigJson?: string | undefined;
  /** Bytes of model.safetensors. */
  safetensors: Uint8Array;
}

/**
 * Builds a model from the content of its files.
 *
 * @throws DeftuneError naming the file, the field or the tensors that do not fit.
 */
export function modelFromFiles(
  backend: Backend,
  { configJson, generationConfigJson, safetensors }: ModelFiles,
  options: BuildOptions = {},
): Model {
  const config = configFields(parseJson(configJson, 'config.json'), 'config.json');
  const generationName = 'generation_config.json';
  const generationConfig =
    generationConfigJson === undefined
      ? undefined
      : configFields(parseJson(generationConfigJson, generationName), generationName);
  const { tensors } = parseSafetensors(safetensors, 'model.safetensors');
  const source = {
    name: 'model.safetensors',
    names: () => [...tensors.keys()],
    get: (key: string) => tensors.get(key),
  };
  return buildModel(backend, config, 'config.json', source, { generationConfig, ...options });
}
