import { z } from 'zod';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import { Linear } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import { Tensor } from '../tensor/tensor.js';
import { ia3InAdapters } from './ia3-in-adapters.js';
import { ia3Layers, Ia3Linear, type Ia3Config } from './ia3-linear.js';
import type { PeftMethod } from './method.js';
import {
  checkSelection,
  definedFields,
  findTargets,
  inPresentNames,
  matchesModules,
  moduleNames,
  type TargetModules,
} from './target-modules.js';
import {
  checkWholeModules,
  wholeModules,
  wholeModulesFromFile,
  wholeModulesToFile,
  wholeParameters,
  wholePaths,
} from './whole-modules.js';

const namesOrNone = z.union([z.string().min(1), z.array(z.string().min(1))], {
  error: 'expected names of modules or a regular expression',
});

const options = z.strictObject({
  targetModules: moduleNames.optional(),
  excludeModules: moduleNames.optional(),
  feedforwardModules: namesOrNone.optional(),
  initIa3Weights: z.boolean().default(true),
  modulesToSave: wholeModules.optional(),
});

const file = z.looseObject({
  target_modules: moduleNames,
  exclude_modules: namesOrNone.nullish(),
  feedforward_modules: namesOrNone,
  init_ia3_weights: z.boolean().nullish(),
  modules_to_save: wholeModules.nullish(),
});

/** IA3's entry in the registry of methods. */
export const ia3: PeftMethod<Ia3Config> = {
  name: 'ia3',
  peftType: 'IA3',
  isMergeable: true,

  configure(given, model) {
    const { info } = model;
    const found = validate(options, given, 'ia3');
    checkWholeModules(model, found.modulesToSave ?? [], 'ia3');
    const targetModules = found.targetModules ?? info.ia3?.targets;
    const feedforwardModules = found.feedforwardModules ?? info.ia3?.feedforward;
    if (!targetModules || !feedforwardModules) {
      const field = targetModules ? 'feedforwardModules' : 'targetModules';
      throw new DeftuneError(`ia3: ${field} is missing, expected names: peft has no default for ${info.modelType}`);
    }
    return checked({ ...found, targetModules, feedforwardModules }, 'ia3');
  },

  configFromFile(values, name, model) {
    const found = validate(file, values, name);
    const modulesToSave = wholeModulesFromFile(model, found.modules_to_save, name);
    const [targetModules, feedforward] = [found.target_modules, found.feedforward_modules];
    const config = definedFields<Ia3Config>({
      ...inPresentNames(model, {
        targetModules,
        excludeModules: found.exclude_modules?.length ? found.exclude_modules : undefined,
      }),
      feedforwardModules:
        feedforward.length > 0 ? inPresentNames(model, { targetModules: feedforward }).targetModules : feedforward,
      initIa3Weights: found.init_ia3_weights ?? true,
      modulesToSave: modulesToSave.length > 0 ? modulesToSave : undefined,
    });
    return checked(config, name);
  },

  // The library writes IA3 as LoRA that multiplies.
  adapters: {
    architecture: 'lora',
    isOf: ({ composition_mode: mode }) => mode === 'scale',
    ...ia3InAdapters,
    configToFile: (config, model) => ({ ...ia3InAdapters.configToFile(config, model), init_weights: 'ia3' }),
  },

  inject(model, config, seed) {
    const rng = new Rng(seed, 0x1a3);
    for (const path of findTargets(model, config, wholePaths(model, config.modulesToSave ?? []))) {
      const base = [...model.namedModules()].find(([name]) => name === path)?.[1];
      if (!(base instanceof Linear)) throw new DeftuneError(`ia3: '${path}' is already adapted`);
      const isFeedforward = isFeedforwardModule(path, config.feedforwardModules);
      const width = isFeedforward ? base.inFeatures : base.outFeatures;
      const values = Float32Array.from({ length: width }, () => (config.initIa3Weights ? 1 : rng.nextNormal()));
      const { handle } = Tensor.fromFloats(model.backend, values, [width]);
      const factors = new Parameter(model.backend, handle, [width], isFeedforward ? [1, width] : [width, 1]);
      factors.requiresGrad = true;
      model.replaceModule(path, new Ia3Linear(base, factors, isFeedforward));
    }
    for (const parameter of wholeParameters(model, config.modulesToSave ?? []).values()) parameter.requiresGrad = true;
  },

  savedParameters(model, { modulesToSave = [] }) {
    const saved = ia3Layers(model).map(([path, layer]) => [`${path}.ia3_l`, layer.ia3_l] as const);
    return new Map(
      [...saved, ...wholeParameters(model, modulesToSave)].map(([name, parameter]) => [
        `base_model.model.${name}`,
        parameter,
      ]),
    );
  },

  configToFile(model, config, baseModel) {
    return {
      auto_mapping: null,
      base_model_name_or_path: baseModel,
      exclude_modules: config.excludeModules ?? null,
      fan_in_fan_out: ia3Layers(model).some(([, layer]) => layer.base_layer.weight.isTransposed),
      feedforward_modules: config.feedforwardModules,
      inference_mode: true,
      init_ia3_weights: config.initIa3Weights,
      modules_to_save: wholeModulesToFile(model, config.modulesToSave ?? []),
      peft_type: 'IA3',
      revision: null,
      target_modules: config.targetModules,
      task_type: model.head.taskType,
    };
  },

  describe({ targetModules }) {
    return `IA3 on ${typeof targetModules === 'string' ? targetModules : targetModules.join(', ')}`;
  },
};

/** As peft: a name need only end the path, wherever in a word it begins. */
function isFeedforwardModule(path: string, names: TargetModules): boolean {
  if (typeof names === 'string') return matchesModules(path, names, 'feedforwardModules');
  return names.some((name) => path.endsWith(name));
}

/** peft: where both are lists, the one is a part of the other. */
function checked(config: Ia3Config, where: string): Ia3Config {
  checkSelection(config, where);
  const { targetModules, feedforwardModules } = config;
  if (typeof targetModules === 'string' || typeof feedforwardModules === 'string') return config;
  const stranger = feedforwardModules.find((name) => !targetModules.includes(name));
  if (stranger === undefined) return config;
  throw new DeftuneError(
    `${where}: feedforwardModules has ${showValue(stranger)}, expected some of the targets ${targetModules.join(', ')}`,
  );
}
