import { join } from 'node:path';
import type { Backend, BackendOptions } from '../backend/backend.js';
import { createBackend } from '../backend/create-backend-node.js';
import { DeftuneError } from '../error.js';
import { openCheckpoint } from '../io/checkpoint-node.js';
import { readJson } from '../io/files-node.js';
import { showValue } from '../io/show-value.js';
import { modelFamily } from './index.js';
import type { ModelOptions, SequenceClassificationModel } from './model.js';

/** Options of `fromPretrained`: those of the model, and where it lives. */
export interface FromPretrainedOptions extends ModelOptions, Omit<BackendOptions, 'backend'> {
  /** A backend that is already open, or the name of the one to open. */
  backend?: Backend | BackendOptions['backend'];
}

/** Models with a head that labels sequences. */
export const AutoModelForSequenceClassification = {
  /**
   * Opens a Hugging Face model directory (`config.json`, `model.safetensors` or its shards; F32, F16 or BF16).
   *
   * @throws DeftuneError naming the file, the field or the tensors that do not fit.
   */
  async fromPretrained(directory: string, options: FromPretrainedOptions = {}): Promise<SequenceClassificationModel> {
    const configPath = join(directory, 'config.json');
    const config: unknown = readJson(configPath);
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw new DeftuneError(`${configPath}: the file holds ${showValue(config)}, expected an object`);
    }
    const fields = config as Record<string, unknown>;
    const family = modelFamily(fields['model_type'], configPath);
    const checkpoint = openCheckpoint(directory);
    const { backend, ...rest } = options;
    const opened = typeof backend === 'object' ? backend : await createBackend({ ...rest, backend });
    return family.build(opened, fields, { name: directory, ...checkpoint }, options);
  },
};
