import { z } from 'zod';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import type { Model } from '../models/model.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { Linear, LinearLike } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import { loraLinear } from '../ops/lora-linear.js';
import type { Tensor } from '../tensor/tensor.js';
import { headParameters } from './head.js';
import type { PeftMethod } from './method.js';
import { findTargets, type TargetModules } from './target-modules.js';
import { validate } from '../io/validate.js';

/** Settings of LoRA, as in peft's `LoraConfig`. */
export interface LoraConfig {
  /** Rank, from 1; default 8. */
  r: number;
  /** Scale is loraAlpha / r; default 16. */
  loraAlpha: number;
  /** Dropout on the low-rank path's input, 0 to less than 1; default 0. */
  loraDropout: number;
  /** Default: peft's for the model family. */
  targetModules: TargetModules;
}

const options = z.strictObject({
  r: z.int().min(1).max(4096).default(8),
  loraAlpha: z.number().positive().default(16),
  loraDropout: z.number().min(0).lt(1).default(0),
  targetModules: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
});

/** Fields of adapter_config.json that change the mathematics and that this version does not know, with their neutral value. */
const UNSUPPORTED: Readonly<Record<string, unknown>> = {
  use_dora: false,
  use_rslora: false,
  bias: 'none',
  lora_bias: false,
  use_qalora: false,
  alora_invocation_tokens: null,
  layers_to_transform: null,
  exclude_modules: null,
  target_parameters: null,
};

const fileSchema = z.looseObject({
  r: z.int().min(1).max(4096),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).lt(1).default(0),
  target_modules: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
  rank_pattern: z.record(z.string(), z.unknown()).nullish(),
  alpha_pattern: z.record(z.string(), z.unknown()).nullish(),
});

/** The weight of one low-rank factor under peft's name (`lora_A.weight`). */
class LowRank extends Linear {}

/** A frozen linear layer with a low-rank update beside it (Hu et al. 2021). */
export class LoraLinear extends LinearLike {
  constructor(
    readonly base_layer: Linear,
    readonly lora_A: LowRank,
    readonly lora_B: LowRank,
    private readonly scaling: number,
    private readonly p: number,
  ) {
    super();
  }

  get inFeatures(): number {
    return this.base_layer.inFeatures;
  }

  get outFeatures(): number {
    return this.base_layer.outFeatures;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { weight, bias } = this.base_layer;
    return loraLinear(x, weight, bias, this.lora_A.weight, this.lora_B.weight, this.scaling, context.dropout(this.p));
  }
}

function layersOf(model: Model): [path: string, layer: LoraLinear][] {
  return [...model.namedModules()].filter((entry): entry is [string, LoraLinear] => entry[1] instanceof LoraLinear);
}

/** LoRA's entry in the registry of methods. */
export const lora: PeftMethod<LoraConfig> = {
  name: 'lora',
  peftType: 'LORA',

  configure(given, model) {
    const { targetModules, ...rest } = validate(options, given, 'lora');
    return { ...rest, targetModules: targetModules ?? model.info.loraTargets };
  },

  configFromFile(file, name) {
    const { r, lora_alpha, lora_dropout, target_modules, rank_pattern, alpha_pattern } = validate(
      fileSchema,
      file,
      name,
    );
    for (const [field, neutral] of Object.entries(UNSUPPORTED)) {
      const value = file[field] ?? neutral;
      if (value !== neutral) {
        const expected = JSON.stringify(neutral);
        throw new DeftuneError(
          `${name}: ${field} is ${JSON.stringify(value)}, expected ${expected} (not supported yet)`,
        );
      }
    }
    for (const [field, pattern] of Object.entries({ rank_pattern, alpha_pattern })) {
      if (pattern && Object.keys(pattern).length > 0) {
        throw new DeftuneError(`${name}: ${field} is ${JSON.stringify(pattern)}, expected {} (not supported yet)`);
      }
    }
    return { r, loraAlpha: lora_alpha, loraDropout: lora_dropout, targetModules: target_modules };
  },

  inject(model, config, seed) {
    const rng = new Rng(seed, 0x10a4);
    for (const path of findTargets(model, config.targetModules, model.info.headModules)) {
      const base = [...model.namedModules()].find(([name]) => name === path)?.[1];
      if (!(base instanceof Linear)) throw new DeftuneError(`lora: '${path}' is already adapted`);
      // peft: Kaiming uniform with a = √5, which is uniform in ±1/√in; B zero, so that training starts at the base model.
      const bound = 1 / Math.sqrt(base.inFeatures);
      const a = Float32Array.from({ length: config.r * base.inFeatures }, () => (rng.nextFloat() * 2 - 1) * bound);
      const b = new Float32Array(base.outFeatures * config.r);
      const lowRank = (values: Float32Array, rows: number, cols: number): LowRank => {
        const layer = new LowRank(Parameter.of(model.backend, values, [rows, cols]));
        layer.weight.requiresGrad = true;
        return layer;
      };
      model.replaceModule(
        path,
        new LoraLinear(
          base,
          lowRank(a, config.r, base.inFeatures),
          lowRank(b, base.outFeatures, config.r),
          config.loraAlpha / config.r,
          config.loraDropout,
        ),
      );
    }
    for (const parameter of headParameters(model).values()) parameter.requiresGrad = true;
  },

  savedParameters(model) {
    const saved = new Map<string, Parameter>();
    for (const [path, layer] of layersOf(model)) {
      saved.set(`base_model.model.${path}.lora_A.weight`, layer.lora_A.weight);
      saved.set(`base_model.model.${path}.lora_B.weight`, layer.lora_B.weight);
    }
    for (const [name, parameter] of headParameters(model)) saved.set(`base_model.model.${name}`, parameter);
    return saved;
  },

  configToFile(model, config, baseModel) {
    return {
      auto_mapping: null,
      base_model_name_or_path: baseModel,
      bias: 'none',
      // As the layers are: peft sets a wrong value right by itself, and so do we when reading.
      fan_in_fan_out: layersOf(model).some(([, layer]) => layer.base_layer.weight.isTransposed),
      inference_mode: true,
      init_lora_weights: true,
      layers_pattern: null,
      layers_to_transform: null,
      lora_alpha: config.loraAlpha,
      lora_dropout: config.loraDropout,
      modules_to_save: model.info.headModules.length > 0 ? [...model.info.headModules] : null,
      peft_type: 'LORA',
      r: config.r,
      rank_pattern: {},
      alpha_pattern: {},
      revision: null,
      target_modules: config.targetModules,
      task_type: model.head.taskType,
      use_dora: false,
      use_rslora: false,
    };
  },

  describe({ r, loraAlpha, loraDropout, targetModules }) {
    const targets = typeof targetModules === 'string' ? targetModules : targetModules.join(', ');
    return `LoRA r ${r}, alpha ${loraAlpha}${loraDropout > 0 ? `, dropout ${loraDropout}` : ''} on ${targets}`;
  },
};
