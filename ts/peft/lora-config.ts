import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import type { Model } from '../models/model.js';
import { initialisationProblem, isTakenOut, type LoraInitialisation } from './lora-initial.js';
import { checkWholeModules, wholeModules, wholeModulesFromFile } from './whole-modules.js';
import {
  checkPatterns,
  checkSelection,
  definedFields,
  inPresentNames,
  moduleNames,
  patternsInPresentNames,
  type ModuleSelection,
} from './target-modules.js';

/** Settings of LoRA, as in peft's `LoraConfig`. */
export interface LoraConfig extends ModuleSelection {
  /** Rank, from 1; default 8. */
  r: number;
  /** Scale is loraAlpha / r; default 16. */
  loraAlpha: number;
  /** Dropout on the low-rank path's input, 0 to less than 1; default 0. */
  loraDropout: number;
  /** Scale is loraAlpha / √r instead (rsLoRA, Kalajdzievski 2023); default false. */
  useRslora: boolean;
  /** Trains the length of each row apart from its direction (DoRA, Liu et al. 2024); default false. */
  useDora: boolean;
  /** Ranks of some modules, by regular expressions that end a path. */
  rankPattern: Readonly<Record<string, number>>;
  /** loraAlpha of some modules, by regular expressions that end a path. */
  alphaPattern: Readonly<Record<string, number>>;
  /** Biases that are trained too: none (default), all of the model, or those of the adapted layers. */
  bias: 'none' | 'all' | 'lora_only';
  /**
   * true (default): A Kaiming uniform, B zero; `gaussian`: A normal with standard deviation 1 / r, B zero; false: both Kaiming uniform,
   * so that the model is not its base at first; `orthogonal`: both normal, with a product of 0 (even ranks only); `pissa`: the weight's
   * largest singular values, `pissa_niter_N` near them; `olora`: from its QR decomposition. The last three are taken out of the weight, so
   * that the model is its base at first; the base itself is left as it is, and files hold the difference as LoRA of twice the rank.
   */
  initLoraWeights: LoraInitialisation;
  /** Modules beside the head that are trained whole and saved: those whose path ends in one of the names; default none. */
  modulesToSave?: readonly string[] | undefined;
}

const rank = z.int().min(1).max(4096);
const alpha = z.number().positive();
const initial = z.custom<LoraInitialisation>((name) => initialisationProblem(name) === undefined, {
  error: ({ input }) => initialisationProblem(input) ?? '',
});
/** Those of files: where peft's factors begin matters only where they were taken out of the weights. */
const stored = z
  .preprocess((name) => (name === 'eva' || name === 'mica' ? true : name), initial)
  .refine((name) => !/^pissa_niter/.test(String(name)), {
    error:
      'expected factors that can be found again: peft draws these at random, and can convert the adapter with path_initial_model_for_weight_conversion',
  });
const layers = z.union([z.int().min(0), z.array(z.int().min(0))], {
  error: 'expected the number of a layer or a list of them',
});

const options = z.strictObject({
  r: rank.default(8),
  loraAlpha: alpha.default(16),
  loraDropout: z.number().min(0).lt(1).default(0),
  useRslora: z.boolean().default(false),
  useDora: z.boolean().default(false),
  rankPattern: z.record(z.string(), rank).default({}),
  alphaPattern: z.record(z.string(), alpha).default({}),
  bias: z.enum(['none', 'all', 'lora_only']).default('none'),
  initLoraWeights: initial.default(true),
  targetModules: moduleNames.optional(),
  excludeModules: moduleNames.optional(),
  layersToTransform: layers.optional(),
  layersPattern: moduleNames.optional(),
  modulesToSave: wholeModules.optional(),
});

const file = z.looseObject({
  r: rank,
  lora_alpha: alpha,
  lora_dropout: z.number().min(0).lt(1).default(0),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), alpha).nullish(),
  bias: z.enum(['none', 'all', 'lora_only']).nullish(),
  init_lora_weights: stored.nullish(),
  target_modules: moduleNames,
  exclude_modules: z.union([moduleNames, z.array(z.never()).length(0)]).nullish(),
  layers_to_transform: layers.nullish(),
  modules_to_save: wholeModules.nullish(),
  layers_pattern: z.union([moduleNames, z.array(z.never()).length(0), z.literal('')]).nullish(),
});

/** Fields of adapter_config.json that change the mathematics and that this version does not know, with their neutral value. */
const UNSUPPORTED: Readonly<Record<string, unknown>> = {
  lora_bias: false,
  use_qalora: false,
  alora_invocation_tokens: null,
  target_parameters: null,
  trainable_token_indices: null,
  layer_replication: null,
  use_bdlora: null,
  arrow_config: null,
  kasa_config: null,
  velora_config: null,
  monteclora_config: null,
};

/** Settings with defaults filled in. @throws DeftuneError naming the field, its value and what is allowed. */
export function configureLora(given: Readonly<Record<string, unknown>>, model: Model, where: string): LoraConfig {
  const { targetModules = model.info.loraTargets, ...rest } = validate(options, given, where);
  const config = { ...rest, targetModules };
  check(config, where);
  checkWholeModules(model, config.modulesToSave ?? [], where);
  return config;
}

/** Settings from an adapter_config.json. @throws DeftuneError naming the file, the field, its value and what is allowed. */
export function loraConfigFromFile(values: Readonly<Record<string, unknown>>, name: string, model: Model): LoraConfig {
  for (const [field, neutral] of Object.entries(UNSUPPORTED)) {
    const value = values[field] ?? neutral;
    if (value === neutral) continue;
    throw new DeftuneError(`${name}: ${field} is ${showValue(value)}, expected ${showValue(neutral)} (not supported)`);
  }
  const found = validate(file, values, name);
  const filled = <T>(value: T | readonly never[] | '' | null | undefined): T | undefined =>
    value === null || value === '' || (Array.isArray(value) && value.length === 0) ? undefined : (value as T);
  const selection = {
    targetModules: found.target_modules,
    excludeModules: filled(found.exclude_modules),
    layersToTransform: filled(found.layers_to_transform),
    layersPattern: filled(found.layers_pattern),
  };
  checkSelection(selection, name);
  const [rankPattern, alphaPattern] = [found.rank_pattern ?? {}, found.alpha_pattern ?? {}];
  checkPatterns(rankPattern, `${name}: rankPattern`);
  checkPatterns(alphaPattern, `${name}: alphaPattern`);
  const config = definedFields<LoraConfig>({
    r: found.r,
    loraAlpha: found.lora_alpha,
    loraDropout: found.lora_dropout,
    useRslora: found.use_rslora ?? false,
    useDora: found.use_dora ?? false,
    rankPattern: patternsInPresentNames(model, rankPattern),
    alphaPattern: patternsInPresentNames(model, alphaPattern),
    bias: found.bias ?? 'none',
    initLoraWeights: found.init_lora_weights ?? true,
    ...inPresentNames(model, selection),
    modulesToSave: filled(wholeModulesFromFile(model, found.modules_to_save, name)),
  });
  check(config, name);
  return config;
}

function check(config: LoraConfig, where: string): void {
  if (config.useDora && isTakenOut(config.initLoraWeights)) {
    throw new DeftuneError(
      `${where}: initLoraWeights is ${showValue(config.initLoraWeights)}, expected another with useDora, whose norms are of the weight`,
    );
  }
  checkSelection(config, where);
  checkPatterns(config.rankPattern, `${where}: rankPattern`);
  checkPatterns(config.alphaPattern, `${where}: alphaPattern`);
}

/** The fields of adapter_config.json that the settings fill. */
export function loraConfigToFile(config: LoraConfig): Record<string, unknown> {
  // Factors that were taken out of the weights are in the file too, as peft does when it converts such an adapter.
  const times = isTakenOut(config.initLoraWeights) ? 2 : 1;
  const alphaTimes = config.useRslora ? Math.sqrt(times) : times;
  const scaled = (pattern: Readonly<Record<string, number>>, by: number): Record<string, number> =>
    Object.fromEntries(Object.entries(pattern).map(([path, value]) => [path, value * by]));
  return {
    r: config.r * times,
    lora_alpha: config.loraAlpha * alphaTimes,
    lora_dropout: config.loraDropout,
    use_rslora: config.useRslora,
    use_dora: config.useDora,
    rank_pattern: scaled(config.rankPattern, times),
    alpha_pattern: scaled(config.alphaPattern, alphaTimes),
    bias: config.bias,
    init_lora_weights: times === 1 ? config.initLoraWeights : true,
    target_modules: config.targetModules,
    exclude_modules: config.excludeModules ?? null,
    layers_to_transform: config.layersToTransform ?? null,
    layers_pattern: config.layersPattern ?? null,
  };
}
