import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { validate } from '../io/validate.js';
import type { AdaptersConfig, AdaptersCodec } from './adapters-format.js';
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
import { literal, targetNames } from './target-modules.js';
import { PartRows, Repeated } from './fused-tensors.js';
import { isTakenOut } from './lora-initial.js';
import type { LoraConfig } from './lora-config.js';
import { loraLayers, type LoraLinear } from './lora-linear.js';
import type { SavedTensor } from './saved-tensor.js';

const file = z.looseObject({
  ...linearFields,
  r: z.int().min(1),
  alpha: z.number().positive(),
  dropout: z.number().min(0).lt(1).default(0),
  composition_mode: z.literal('add').default('add'),
});

/** The three parts of a fused projection, and some of them. */
const PARTS = [[0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]] as const;

/**
 * LoRA in the files of `adapters`: one rank and alpha for all layers. A projection to queries, keys and values in one has factors by part
 * there; they are a block-diagonal B beside all of their A here, and a B that is not is written beside copies of A.
 */
export const loraInAdapters: AdaptersCodec<LoraConfig> = {
  configFromFile(values, where, model) {
    checkLinearConfig(values, where);
    if (values['use_dora'] === true) {
      throw new DeftuneError(
        `${where}: use_dora is true, expected false (adapters' DoRA scales biases too, and leaves alpha / r out of the norm)`,
      );
    }
    const found = validate(file, values, where);
    const paths = chosenLinears(model, found, where);
    const fused = paths.filter((path) => model.info.linears.qkv?.test(path));
    const parts = fused.length > 0 ? fusedParts(found).length : 1;
    const isAll = fused.length === paths.length;
    const names = targetNames(model, fused);
    const pattern = (value: number): Record<string, number> =>
      parts === 1 || isAll ? {} : Object.fromEntries(names.map((name) => [literal(name), value]));
    return {
      r: found.r * (isAll ? parts : 1),
      loraAlpha: found.alpha * (isAll ? parts : 1),
      loraDropout: found.dropout,
      useRslora: false,
      useDora: false,
      rankPattern: pattern(found.r * parts),
      alphaPattern: pattern(found.alpha * parts),
      bias: 'none',
      initLoraWeights: true,
      targetModules: targetNames(model, paths),
    };
  },

  configToFile(config, model) {
    if (config.bias !== 'none') {
      throw new DeftuneError(
        `AdapterHub's adapters trains no biases beside LoRA, expected bias none, found ${config.bias}`,
      );
    }
    refuseWholeModules(config);
    if (config.useDora) {
      throw new DeftuneError(
        "AdapterHub's adapters has another DoRA (it scales biases too, and leaves alpha / r out of the norm), expected LoRA",
      );
    }
    if (isTakenOut(config.initLoraWeights)) {
      throw new DeftuneError(
        `LoRA that began as ${config.initLoraWeights} is written for peft first, expected that format (deftune convert reads it)`,
      );
    }
    const layers = loraLayers(model);
    const isFused = ([path]: readonly [string, LoraLinear]): boolean => model.info.linears.qkv?.test(path) ?? false;
    const fused = layers.filter(isFused).map(([, layer]) => layer);
    const plain = layers.filter((entry) => !isFused(entry)).map(([, layer]) => layer);
    const rank = plain[0]?.lora_A.weight.rows;
    const parts =
      fused.length === 0 ? [] : (PARTS.find((some) => fused.every(isBlockDiagonal(some, rank))) ?? PARTS[0]);
    const [first] = fused;
    const isBlocks = first !== undefined && isBlockDiagonal(parts, rank)(first);
    const divisor = isBlocks ? parts.length : 1;
    const sizes = layers.map(([path, layer]) => {
      const r = layer.lora_A.weight.rows / (isFused([path, layer]) ? divisor : 1);
      // Without what was rounded in alpha / r.
      return { path, r, alpha: Number((layer.scaling * r).toPrecision(12)) };
    });
    const [{ r, alpha }] = sizes as [(typeof sizes)[number]];
    const other = sizes.find((size) => size.r !== r || size.alpha !== alpha);
    if (other) {
      throw new DeftuneError(
        `AdapterHub's adapters has one rank and alpha for all layers, expected r ${r} and alpha ${alpha} at ${other.path}, found ${other.r} and ${other.alpha}`,
      );
    }
    return {
      ...REMAINING,
      ...fieldsOf(
        model,
        layers.map(([path]) => path),
        parts,
      ),
      alpha,
      composition_mode: 'add',
      dropout: config.loraDropout,
      r,
      use_dora: false,
    };
  },

  savedTensors(model, _config, values) {
    return new Map(
      loraLayers(model).flatMap(([path, layer]) => {
        const name = `${adaptersPath(model, path)}.loras`;
        const [a, b] = model.info.linears.qkv?.test(path) ? fusedFactors(layer, values) : factors(layer);
        return [[`${name}.lora_A`, a] as const, [`${name}.lora_B`, b] as const];
      }),
    );
  },
};

function factors({ lora_A, lora_B }: LoraLinear): readonly [SavedTensor, SavedTensor] {
  return [lora_A.weight, lora_B.weight];
}

function fusedFactors(layer: LoraLinear, values: AdaptersConfig): readonly [SavedTensor, SavedTensor] {
  const { r, ...fields } = validate(file, values, 'config');
  const parts = fusedParts(fields);
  const [a, b] = [layer.lora_A.weight, layer.lora_B.weight];
  const isBlocks = a.rows === r * parts.length;
  return [isBlocks ? a : new Repeated(a, parts.length), new PartRows(b, parts, isBlocks ? r : 0, 0)];
}

/** Whether B has a block for each of the parts and zeros elsewhere. @param rank that one part must have, where there is one */
function isBlockDiagonal(parts: readonly number[], rank: number | undefined): (layer: LoraLinear) => boolean {
  return ({ lora_B: { weight } }) => {
    const r = weight.cols / parts.length;
    if (!Number.isInteger(r) || (rank !== undefined && r !== rank)) return false;
    return new PartRows(weight, parts, r, 0).isWhole;
  };
}
