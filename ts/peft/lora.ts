import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import type { Model } from '../models/model.js';
import { Linear } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import { headParameters } from './head-parameters.js';
import { configureLora, loraConfigFromFile, loraConfigToFile, type LoraConfig } from './lora-config.js';
import { loraLayers, LoraLinear, LowRank } from './lora-linear.js';
import { loraInAdapters } from './lora-in-adapters.js';
import type { PeftMethod } from './method.js';
import { findTargets, valueOfPattern } from './target-modules.js';

/** LoRA's entry in the registry of methods. */
export const lora: PeftMethod<LoraConfig> = {
  name: 'lora',
  peftType: 'LORA',
  isMergeable: true,

  configure: (given, model) => configureLora(given, model.info.loraTargets, 'lora'),
  configFromFile: loraConfigFromFile,

  adapters: loraInAdapters,

  inject(model, config, seed) {
    const rng = new Rng(seed, 0x10a4);
    for (const path of findTargets(model, config, model.info.headModules)) {
      const base = [...model.namedModules()].find(([name]) => name === path)?.[1];
      if (!(base instanceof Linear)) throw new DeftuneError(`lora: '${path}' is already adapted`);
      const r = valueOfPattern(path, config.rankPattern) ?? config.r;
      const alpha = valueOfPattern(path, config.alphaPattern) ?? config.loraAlpha;
      const a = lowRank(model, initialA(rng, r, base.inFeatures, config), r, base.inFeatures);
      const b = lowRank(model, initialB(rng, r, base.outFeatures, config), base.outFeatures, r);
      const scaling = alpha / (config.useRslora ? Math.sqrt(r) : r);
      model.replaceModule(path, new LoraLinear(base, a, b, scaling, config.loraDropout, config.useDora));
    }
    for (const bias of trainedBiases(model, config).values()) bias.requiresGrad = true;
    for (const parameter of headParameters(model).values()) parameter.requiresGrad = true;
  },

  savedParameters(model, config) {
    const saved = new Map<string, Parameter>();
    for (const [path, layer] of loraLayers(model)) {
      saved.set(`base_model.model.${path}.lora_A.weight`, layer.lora_A.weight);
      saved.set(`base_model.model.${path}.lora_B.weight`, layer.lora_B.weight);
      const magnitude = layer.lora_magnitude_vector;
      if (magnitude) saved.set(`base_model.model.${path}.lora_magnitude_vector`, magnitude);
    }
    for (const [name, bias] of trainedBiases(model, config)) saved.set(`base_model.model.${name}`, bias);
    for (const [name, parameter] of headParameters(model)) saved.set(`base_model.model.${name}`, parameter);
    return saved;
  },

  configToFile(model, config, baseModel) {
    return {
      auto_mapping: null,
      base_model_name_or_path: baseModel,
      // As the layers are: peft sets a wrong value right by itself, and so do we when reading.
      fan_in_fan_out: loraLayers(model).some(([, layer]) => layer.base_layer.weight.isTransposed),
      inference_mode: true,
      modules_to_save: model.info.headModules.length > 0 ? [...model.info.headModules] : null,
      peft_type: 'LORA',
      revision: null,
      task_type: model.head.taskType,
      ...loraConfigToFile(config),
    };
  },

  describe({ r, loraAlpha, loraDropout, targetModules, useDora, useRslora, bias }) {
    const targets = typeof targetModules === 'string' ? targetModules : targetModules.join(', ');
    const extras = [
      ...(loraDropout > 0 ? [`dropout ${loraDropout}`] : []),
      ...(useRslora ? ['rank-stabilized'] : []),
      ...(bias === 'none' ? [] : [`bias ${bias}`]),
    ];
    return `${[`${useDora ? 'DoRA' : 'LoRA'} r ${r}`, `alpha ${loraAlpha}`, ...extras].join(', ')} on ${targets}`;
  },
};

/** Biases that are trained beside the factors, by name; the head's are its own. */
function trainedBiases(model: Model, { bias }: LoraConfig): Map<string, Parameter> {
  if (bias === 'none') return new Map();
  const head = headParameters(model);
  const ending = bias === 'all' ? '.bias' : '.base_layer.bias';
  return new Map([...model.namedParameters()].filter(([name]) => name.endsWith(ending) && !head.has(name)));
}

function lowRank(model: Model, values: Float32Array, rows: number, cols: number): LowRank {
  const layer = new LowRank(Parameter.of(model.backend, values, [rows, cols]));
  layer.weight.requiresGrad = true;
  return layer;
}

/** peft: Kaiming uniform with a = √5, which is uniform in ±1/√in, or normal with standard deviation 1 / r. */
function initialA(rng: Rng, r: number, inFeatures: number, { initLoraWeights }: LoraConfig): Float32Array {
  if (initLoraWeights !== 'gaussian') return kaimingUniform(rng, r * inFeatures, inFeatures);
  return Float32Array.from({ length: r * inFeatures }, () => rng.nextNormal() / r);
}

/** Zero, so that training starts at the base model, unless the setting is false. */
function initialB(rng: Rng, r: number, outFeatures: number, { initLoraWeights }: LoraConfig): Float32Array {
  return initLoraWeights === false ? kaimingUniform(rng, outFeatures * r, r) : new Float32Array(outFeatures * r);
}

function kaimingUniform(rng: Rng, length: number, inFeatures: number): Float32Array {
  const bound = 1 / Math.sqrt(inFeatures);
  return Float32Array.from({ length }, () => (rng.nextFloat() * 2 - 1) * bound);
}
