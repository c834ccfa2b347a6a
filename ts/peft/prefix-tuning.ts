import { z } from 'zod';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import { definedFields } from './target-modules.js';
import { validate } from '../io/validate.js';
import type { Model } from '../models/model.js';
import { Embedding } from '../nn/embedding.js';
import { Linear } from '../nn/linear.js';
import { Parameter } from '../nn/parameter.js';
import type { VirtualInputs } from '../nn/virtual-inputs.js';
import { ACTIVATION_NAMES, activationKind } from '../ops/activation-kind.js';
import { headParameters } from './head-parameters.js';
import type { PeftMethod } from './method.js';
import { PrefixEncoder, type PrefixConfig } from './prefix-encoder.js';
import { prefixInAdapters } from './prefix-in-adapters.js';
import type { SavedTensor } from './saved-tensor.js';
import { checkSizes, promptLearningFields, savedHead, stacksOf, virtualPlace } from './virtual-places.js';

const count = z.int().min(1).max(65_535);

const nonLinearity = z.string().refine((name) => ACTIVATION_NAMES.includes(name.toLowerCase()), {
  error: `expected one of ${ACTIVATION_NAMES.join(', ')}`,
});

const options = z.strictObject({
  numVirtualTokens: count.default(20),
  prefixProjection: z.boolean().default(false),
  encoderHiddenSize: count.optional(),
  nonLinearity: nonLinearity.default('tanh'),
  movesPositions: z.boolean().optional(),
  initWeights: z.literal('zero').optional(),
});

const file = z.looseObject({
  num_virtual_tokens: count,
  prefix_projection: z.boolean().nullish(),
  encoder_hidden_size: z.int().nullish(),
  num_layers: z.int().nullish(),
  num_attention_heads: z.int().nullish(),
  token_dim: z.int().nullish(),
});

/** Prefix tuning's entry in the registry of methods. */
export const prefixTuning: PeftMethod<PrefixConfig> = {
  name: 'prefix-tuning',
  peftType: 'PREFIX_TUNING',

  configure(given, { info }) {
    const found = validate(options, given, 'prefix-tuning');
    const isText = info.vocabSize > 0;
    if (found.movesPositions === true && !isText) {
      throw new DeftuneError('prefix-tuning: movesPositions is true, expected false for images');
    }
    return definedFields({ ...found, movesPositions: found.movesPositions ?? isText });
  },

  configFromFile(values, where, model) {
    const found = validate(file, values, where);
    if (model.info.vocabSize === 0) {
      throw new DeftuneError(
        `${where}: peft_type is PREFIX_TUNING, expected another for images (peft has no prefix for them)`,
      );
    }
    checkSizes(found, model, where);
    // What a projection made is a table like any other; it can be trained on as one.
    return {
      numVirtualTokens: found.num_virtual_tokens,
      prefixProjection: false,
      nonLinearity: 'tanh',
      movesPositions: true,
    };
  },

  adapters: { architecture: 'prefix_tuning', ...prefixInAdapters },

  whyNotPeft({ movesPositions }, { info }) {
    if (info.vocabSize === 0) return 'peft has no prefix for images';
    return movesPositions ? undefined : "peft's prefixes move the positions of the tokens, and this one does not";
  },

  virtualTokens: ({ numVirtualTokens, movesPositions }) => (movesPositions ? numVirtualTokens : 0),

  inject(model, config, seed) {
    const place = virtualPlace(model, 'keys', 'prefix-tuning');
    const rng = new Rng(seed, 0x9e1f);
    const { width } = place.sizes;
    const { total, chunks } = chunksOf(model, place);
    const table = (cols: number): Embedding => {
      const size = config.numVirtualTokens * cols;
      const isZero = config.initWeights === 'zero' && !config.prefixProjection;
      const values = Float32Array.from({ length: size }, () => (isZero ? 0 : rng.nextNormal()));
      return new Embedding(Parameter.of(model.backend, values, [config.numVirtualTokens, cols]));
    };
    const linear = (outputs: number, inputs: number, isZero: boolean): Linear => {
      // As torch.nn.Linear begins.
      const bound = isZero ? 0 : 1 / Math.sqrt(inputs);
      const uniform = (length: number): Float32Array =>
        Float32Array.from({ length }, () => (rng.nextFloat() * 2 - 1) * bound);
      return new Linear(
        Parameter.of(model.backend, uniform(outputs * inputs), [outputs, inputs]),
        Parameter.of(model.backend, uniform(outputs), [outputs]),
      );
    };
    const hidden = config.encoderHiddenSize ?? width;
    const keys = config.prefixProjection
      ? new PrefixEncoder(
          table(width),
          chunks,
          width,
          config.movesPositions,
          [linear(hidden, width, false), linear(total * width, hidden, config.initWeights === 'zero')],
          activationKind(config.nonLinearity.toLowerCase()),
        )
      : new PrefixEncoder(table(total * width), chunks, width, config.movesPositions);
    for (const [, parameter] of keys.namedParameters()) parameter.requiresGrad = true;
    for (const parameter of headParameters(model).values()) parameter.requiresGrad = true;
    place.keys = keys;
  },

  savedParameters(model) {
    const { keys } = virtualPlace(model, 'keys', 'prefix-tuning');
    return new Map<string, SavedTensor>([
      ...(keys instanceof PrefixEncoder ? [['prompt_embeddings', keys] as const] : []),
      ...savedHead(model),
    ]);
  },

  configToFile: (model, config, baseModel) => ({
    ...promptLearningFields(model, config.numVirtualTokens, baseModel),
    encoder_hidden_size: config.encoderHiddenSize ?? stacksOf(model)[0]?.sizes.width,
    init_weights: config.initWeights ?? null,
    peft_type: 'PREFIX_TUNING',
    prefix_projection: config.prefixProjection,
  }),

  describe: ({ numVirtualTokens, prefixProjection }) =>
    `prefix of ${numVirtualTokens} tokens${prefixProjection ? ' through an MLP' : ''}`,
};

/**
 * Which parts of the table are whose keys and values: layer by layer. In an encoder-decoder peft (0.21) puts a prefix into the decoder's
 * self-attention only; its table has two parts for each layer of the encoder, which it repeats and deals out in fours, so that layer l
 * reads parts 4 l and 4 l + 1. Files mean just that.
 */
function chunksOf(model: Model, place: VirtualInputs): { total: number; chunks: [number, number][] } {
  const { layers, width, keyWidth } = place.sizes;
  const [first, second] = stacksOf(model);
  if (!second) {
    return { total: 2 * layers, chunks: Array.from({ length: layers }, (_, layer) => [2 * layer, 2 * layer + 1]) };
  }
  const total = 2 * (first as VirtualInputs).sizes.layers;
  if (width !== keyWidth) {
    throw new DeftuneError(
      `prefix-tuning: keys are ${keyWidth} wide, expected ${width} as the embeddings (peft's files know one width)`,
    );
  }
  if (2 * layers > total) {
    throw new DeftuneError(
      `prefix-tuning: the decoder has ${layers} layers, expected at most the encoder's ${total / 2} (as peft)`,
    );
  }
  return {
    total,
    chunks: Array.from({ length: layers }, (_, layer) => [(4 * layer) % total, (4 * layer + 1) % total]),
  };
}
