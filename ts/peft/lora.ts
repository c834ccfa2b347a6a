import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import type { Model } from '../models/model.js';
import { Linear } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import { configureLora, loraConfigFromFile, loraConfigToFile, type LoraConfig } from './lora-config.js';
import { loraLayers, LoraLinear, LowRank, TakenOut } from './lora-linear.js';
import { initialFactors } from './lora-initial.js';
import { loraInAdapters } from './lora-in-adapters.js';
import type { PeftMethod } from './method.js';
import type { SavedTensor } from './saved-tensor.js';
import { findTargets, valueOfPattern } from './target-modules.js';
import { wholeModulesToFile, wholeParameters, wholePaths } from './whole-modules.js';

/** LoRA's entry in the registry of methods. */
export const lora: PeftMethod<LoraConfig> = {
  name: 'lora',
  peftType: 'LORA',
  isMergeable: true,

  configure: (given, model) => configureLora(given, model, 'lora'),
  configFromFile: loraConfigFromFile,

  adapters: {
    architecture: 'lora',
    isOf: ({ composition_mode: mode }) => mode !== 'scale',
    ...loraInAdapters,
    configToFile: (config, model) => ({ ...loraInAdapters.configToFile(config, model), init_weights: 'lora' }),
  },

  inject(model, config, seed) {
    const rng = new Rng(seed, 0x10a4);
    for (const path of findTargets(model, config, wholePaths(model, config.modulesToSave ?? []))) {
      const base = [...model.namedModules()].find(([name]) => name === path)?.[1];
      if (!(base instanceof Linear)) throw new DeftuneError(`lora: '${path}' is already adapted`);
      const r = valueOfPattern(path, config.rankPattern) ?? config.r;
      const alpha = valueOfPattern(path, config.alphaPattern) ?? config.loraAlpha;
      const scaling = alpha / (config.useRslora ? Math.sqrt(r) : r);
      const { outFeatures, inFeatures, weight } = base;
      const { a, b, isTakenOut } = initialFactors(config.initLoraWeights, {
        weight: () => ({ values: weight.toFloats(), rows: outFeatures, cols: inFeatures }),
        ...{ out: outFeatures, in: inFeatures, r, scaling, rng },
      });
      const parameter = (values: Float32Array, rows: number, cols: number, isTrained: boolean): Parameter => {
        const made = Parameter.of(model.backend, values, [rows, cols]);
        made.requiresGrad = isTrained;
        return made;
      };
      const factors = [
        new LowRank(parameter(a, r, inFeatures, true)),
        new LowRank(parameter(b, outFeatures, r, true)),
      ] as const;
      const taken = isTakenOut
        ? ([
            new TakenOut(parameter(a, r, inFeatures, false)),
            new TakenOut(
              parameter(
                b.map((value) => -scaling * value),
                outFeatures,
                r,
                false,
              ),
            ),
          ] as const)
        : [];
      model.replaceModule(
        path,
        new LoraLinear(base, ...factors, scaling, config.loraDropout, config.useDora, ...taken),
      );
    }
    for (const bias of trainedBiases(model, config).values()) bias.requiresGrad = true;
    for (const parameter of wholeParameters(model, config.modulesToSave ?? []).values()) parameter.requiresGrad = true;
  },

  savedParameters(model, config) {
    const saved = new Map<string, SavedTensor>();
    for (const [path, layer] of loraLayers(model)) {
      const [a, b] = layer.savedFactors();
      saved.set(`base_model.model.${path}.lora_A.weight`, a);
      saved.set(`base_model.model.${path}.lora_B.weight`, b);
      const magnitude = layer.lora_magnitude_vector;
      if (magnitude) saved.set(`base_model.model.${path}.lora_magnitude_vector`, magnitude);
    }
    for (const [name, bias] of trainedBiases(model, config)) saved.set(`base_model.model.${name}`, bias);
    for (const [name, parameter] of wholeParameters(model, config.modulesToSave ?? []))
      saved.set(`base_model.model.${name}`, parameter);
    return saved;
  },

  loadedParameters(model, config) {
    const saved = lora.savedParameters(model, config);
    for (const [path, layer] of loraLayers(model)) {
      saved.set(`base_model.model.${path}.lora_A.weight`, layer.lora_A.weight);
      saved.set(`base_model.model.${path}.lora_B.weight`, layer.lora_B.weight);
    }
    return saved;
  },

  configToFile(model, config, baseModel) {
    return {
      auto_mapping: null,
      base_model_name_or_path: baseModel,
      // As the layers are: peft sets a wrong value right by itself, and so do we when reading.
      fan_in_fan_out: loraLayers(model).some(([, layer]) => layer.base_layer.weight.isTransposed),
      inference_mode: true,
      modules_to_save: wholeModulesToFile(model, config.modulesToSave ?? []),
      peft_type: 'LORA',
      revision: null,
      task_type: model.head.taskType,
      ...loraConfigToFile(config),
    };
  },

  describe({ r, loraAlpha, loraDropout, targetModules, useDora, useRslora, bias, initLoraWeights }) {
    const targets = typeof targetModules === 'string' ? targetModules : targetModules.join(', ');
    const extras = [
      ...(loraDropout > 0 ? [`dropout ${loraDropout}`] : []),
      ...(typeof initLoraWeights === 'string' ? [initLoraWeights] : []),
      ...(useRslora ? ['rank-stabilized'] : []),
      ...(bias === 'none' ? [] : [`bias ${bias}`]),
    ];
    return `${[`${useDora ? 'DoRA' : 'LoRA'} r ${r}`, `alpha ${loraAlpha}`, ...extras].join(', ')} on ${targets}`;
  },
};

/** Biases that are trained beside the factors, by name; the head's are its own. */
function trainedBiases(model: Model, { bias, modulesToSave = [] }: LoraConfig): Map<string, Parameter> {
  if (bias === 'none') return new Map();
  const head = wholeParameters(model, modulesToSave);
  const ending = bias === 'all' ? '.bias' : '.base_layer.bias';
  return new Map([...model.namedParameters()].filter(([name]) => name.endsWith(ending) && !head.has(name)));
}
