import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { validate } from '../io/validate.js';
import type { AdaptersCodec } from './adapters-format.js';
import {
  adaptersPath,
  checkLinearConfig,
  chosenLinears,
  fieldsOf,
  fusedParts,
  linearFields,
  refuseWholeModules,
  REMAINING,
} from './adapters-linears.js';
import { targetNames } from './target-modules.js';
import { PartRows } from './fused-tensors.js';
import { ia3Layers, type Ia3Config } from './ia3-linear.js';

const file = z.looseObject({
  ...linearFields,
  r: z.literal(1),
  alpha: z.literal(1),
  dropout: z.literal(0).default(0),
  composition_mode: z.literal('scale'),
});

/** The parts of a fused projection, the least first. */
const PARTS = [
  [1, 2],
  [0, 1],
  [0, 2],
  [0, 1, 2],
] as const;

/** IA3 in the files of `adapters`: outputs are scaled, never inputs. */
export const ia3InAdapters: AdaptersCodec<Ia3Config> = {
  configFromFile(values, where, model) {
    checkLinearConfig(values, where);
    const paths = chosenLinears(model, validate(file, values, where), where);
    return { targetModules: targetNames(model, paths), feedforwardModules: [], initIa3Weights: true };
  },

  configToFile(config, model) {
    refuseWholeModules(config);
    const layers = ia3Layers(model);
    const feedforward = layers.find(([, layer]) => layer.isFeedforward);
    if (feedforward) {
      throw new DeftuneError(
        `AdapterHub's adapters scales outputs only, expected no feedforwardModules; the input of ${feedforward[0]} is scaled`,
      );
    }
    const fused = layers.filter(([path]) => model.info.linears.qkv?.test(path));
    const parts = PARTS.find((some) =>
      fused.every(([, { ia3_l: factors }]) => new PartRows(factors, some, 0, 1).isWhole),
    );
    return {
      ...REMAINING,
      ...fieldsOf(
        model,
        layers.map(([path]) => path),
        parts ?? [0, 1, 2],
      ),
      alpha: 1,
      composition_mode: 'scale',
      dropout: 0,
      r: 1,
      use_dora: false,
    };
  },

  savedTensors(model, _config, values) {
    const parts = fusedParts(validate(file, values, 'config'));
    return new Map(
      ia3Layers(model).map(([path, { ia3_l: factors }]) => [
        `${adaptersPath(model, path)}.loras.lora_B`,
        model.info.linears.qkv?.test(path) ? new PartRows(factors, parts, 0, 1) : factors,
      ]),
    );
  },
};
