import { DeftuneError } from '../error.js';
import type { Model } from '../models/model.js';
import { VirtualInputs, type VirtualKind } from '../nn/virtual-inputs.js';
import type { Parameter } from '../nn/parameter.js';
import { headParameters } from './head-parameters.js';

/**
 * The place of a model for virtual keys or tokens.
 *
 * @param what goes there
 * @param method for messages
 * @throws DeftuneError where the model has none
 */
export function virtualPlace(model: Model, what: VirtualKind, method: string): VirtualInputs {
  const place = stacksOf(model).find(({ takes }) => takes.includes(what));
  if (place) return place;
  throw new DeftuneError(
    `${method}: a model of type ${model.info.modelType} has no place for virtual ${PLACES[what]}, expected another model or method`,
  );
}

const PLACES: Readonly<Record<VirtualKind, string>> = {
  keys: 'keys',
  words: 'tokens before its words',
  embeddings: 'tokens behind its embedding layer',
};

/** Every stack of a model: two in an encoder-decoder, the encoder first. */
export function stacksOf(model: Model): VirtualInputs[] {
  return model.modules().filter((module): module is VirtualInputs => module instanceof VirtualInputs);
}

/** The head's parameters by the keys that peft's files of prompt learning give them. */
export function savedHead(model: Model): [key: string, parameter: Parameter][] {
  return [...headParameters(model)].map(([name, parameter]) => [`base_model.${name}`, parameter]);
}

/** Fields of adapter_config.json that every method of prompt learning has. */
export function promptLearningFields(
  model: Model,
  numVirtualTokens: number,
  baseModel: string,
): Record<string, unknown> {
  const stacks = stacksOf(model);
  const { sizes } = stacks[0] as VirtualInputs;
  return {
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    inference_mode: true,
    modules_to_save: model.info.headModules.length > 0 ? [...model.info.headModules] : null,
    num_attention_heads: sizes.heads,
    num_layers: sizes.layers,
    num_transformer_submodules: stacks.length,
    num_virtual_tokens: numVirtualTokens,
    revision: null,
    task_type: model.head.taskType,
    token_dim: sizes.width,
  };
}

/** @throws DeftuneError where a stored adapter was made for a model of other sizes */
export function checkSizes(
  found: { token_dim?: unknown; num_layers?: unknown; num_attention_heads?: unknown },
  model: Model,
  where: string,
): void {
  const sizes = stacksOf(model)[0]?.sizes;
  if (!sizes) return;
  const expected = { token_dim: sizes.width, num_layers: sizes.layers, num_attention_heads: sizes.heads };
  for (const [field, value] of Object.entries(expected)) {
    const stored = found[field as keyof typeof found] ?? value;
    if (stored !== value)
      throw new DeftuneError(`${where}: ${field} is ${String(stored)}, expected ${value} as in the base`);
  }
}
