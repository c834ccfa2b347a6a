import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';
import { parseJson } from '../io/parse-json.js';
import { parseSafetensors } from '../io/safetensors.js';
import { showValue } from '../io/show-value.js';
import { modelFamily } from './index.js';
import type { ModelOptions, SequenceClassificationModel } from './model.js';

/** A model's files, in memory. */
export interface ModelFiles {
  /** Text of config.json. */
  configJson: string;
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
  { configJson, safetensors }: ModelFiles,
  options: ModelOptions = {},
): SequenceClassificationModel {
  const config = parseJson(configJson, 'config.json');
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new DeftuneError(`config.json: the file holds ${showValue(config)}, expected an object`);
  }
  const fields = config as Record<string, unknown>;
  const family = modelFamily(fields['model_type'], 'config.json');
  const { tensors } = parseSafetensors(safetensors, 'model.safetensors');
  const source = {
    name: 'model.safetensors',
    names: () => [...tensors.keys()],
    get: (key: string) => tensors.get(key),
  };
  return family.build(backend, fields, source, options);
}
