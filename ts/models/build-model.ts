import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { setActivationThresholds } from '../nn/activation-thresholds.js';
import { activationKind } from '../ops/activation-kind.js';
import { familyHead, modelFamily } from './index.js';
import type { Model, ModelOptions } from './model.js';
import type { TensorSource } from './weights.js';

/** The head to open besides what the model itself takes. */
export interface BuildOptions extends ModelOptions {
  /** `SequenceClassification`, `CausalLM`, ...; default: what config.json's `architectures` says, else the family's first. */
  head?: string | undefined;
}

/**
 * Builds a model from a parsed config.json and its tensors.
 *
 * @throws DeftuneError naming the file, the field or the tensors that do not fit.
 */
export function buildModel(
  backend: Backend,
  config: Record<string, unknown>,
  configName: string,
  source: TensorSource,
  options: BuildOptions,
): Model {
  const { precision = 'f32' } = options;
  if (precision !== 'f32' && precision !== 'bf16') {
    throw new DeftuneError(`precision is ${showValue(precision)}, expected 'f32' or 'bf16'`);
  }
  const family = modelFamily(config['model_type'], configName);
  const head = familyHead(family, options.head, config['architectures'], configName);
  const { activation, activationThresholds } = options;
  if (activation !== undefined) activationKind(activation);
  const own = activation === undefined ? config : family.withActivation(config, activation);
  const model = family.build(backend, own, source, head, options);
  model.precision = precision;
  if (activation !== undefined) model.swappedActivation = model.info.activation;
  try {
    if (activationThresholds !== undefined) setActivationThresholds(model, activationThresholds);
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}

/** Checks that a config.json holds an object. */
export function configFields(config: unknown, configName: string): Record<string, unknown> {
  if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config as Record<string, unknown>;
  throw new DeftuneError(`${configName}: the file holds ${showValue(config)}, expected an object`);
}
