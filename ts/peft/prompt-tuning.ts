import { z } from 'zod';
import { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import { Parameter } from '../nn/parameter.js';
import { VirtualTokens, type TokensPlace } from '../nn/virtual-inputs.js';
import { gatherRows } from '../ops/gather-rows.js';
import { Tensor } from '../tensor/tensor.js';
import { headParameters } from './head-parameters.js';
import type { PeftMethod } from './method.js';
import type { SavedTensor } from './saved-tensor.js';
import { definedFields } from './target-modules.js';
import { checkSizes, promptLearningFields, savedHead, stacksOf, virtualPlace } from './virtual-places.js';

/** How a prompt begins: normal, the embeddings of a text, or of tokens drawn from the vocabulary. */
export type PromptInit = 'RANDOM' | 'TEXT' | 'SAMPLE_VOCAB';

/** Settings of prompt tuning, as in peft's `PromptTuningConfig`. */
export interface PromptConfig {
  /** Virtual tokens before each sequence, from 1; default 20. */
  numVirtualTokens: number;
  /** Default: `TEXT` where there is a text, else `RANDOM`. */
  promptTuningInit: PromptInit;
  promptTuningInitText?: string | undefined;
  /** The text's tokens, repeated or cut to the number of virtual tokens. */
  promptTuningInitIds?: readonly number[] | undefined;
  tokenizerNameOrPath?: string | undefined;
  /**
   * As in `adapters`, whose prompts stand behind the embedding layer, without positions: before its rows (`prefix`, the default for
   * images), or behind the first of them. Default for texts: none, as in peft, whose prompts stand before the words and have positions.
   */
  combine?: keyof typeof COMBINED | undefined;
}

/** Where prompts of `adapters` stand. */
const COMBINED = { prefix: 'embeddings', prefix_after_bos: 'afterFirst' } as const;

const count = z.int().min(1).max(65_535);
const init = z.enum(['RANDOM', 'TEXT', 'SAMPLE_VOCAB']);

const combine = z.enum(Object.keys(COMBINED) as [keyof typeof COMBINED]);

const options = z.strictObject({
  numVirtualTokens: count.default(20),
  promptTuningInit: init.optional(),
  promptTuningInitText: z.string().min(1).optional(),
  promptTuningInitIds: z.array(z.int().min(0)).min(1).optional(),
  tokenizerNameOrPath: z.string().optional(),
  combine: combine.optional(),
});

const file = z.looseObject({
  num_virtual_tokens: count,
  prompt_tuning_init: init.nullish(),
  prompt_tuning_init_text: z.string().nullish(),
  tokenizer_name_or_path: z.string().nullish(),
  num_layers: z.int().nullish(),
  num_attention_heads: z.int().nullish(),
  token_dim: z.int().nullish(),
});

const adaptersFile = z.looseObject({
  prompt_length: count,
  prompt_init: z.enum(['random_uniform', 'from_string']).default('random_uniform'),
  prompt_init_text: z.string().nullish(),
  combine: combine.default('prefix'),
});

/** Learned embeddings (Lester et al. 2021). */
export class PromptEmbedding extends VirtualTokens {
  /** @param weight [stacks · V, d]; peft's files have rows for a decoder too, which nothing reads */
  constructor(
    readonly weight: Parameter,
    readonly count: number,
    readonly place: TokensPlace,
  ) {
    super();
  }

  forward(): Tensor {
    if (this.weight.rows === this.count) return this.weight;
    const rows = Tensor.fromInts(
      this.weight.backend,
      Array.from({ length: this.count }, (_, row) => row),
    );
    return gatherRows(this.weight, rows);
  }
}

/** Prompt tuning's entry in the registry of methods. */
export const promptTuning: PeftMethod<PromptConfig> = {
  name: 'prompt-tuning',
  peftType: 'PROMPT_TUNING',

  configure(given, model) {
    const found = validate(options, given, 'prompt-tuning');
    const promptTuningInit = found.promptTuningInit ?? (found.promptTuningInitText === undefined ? 'RANDOM' : 'TEXT');
    const { promptTuningInitIds: ids } = found;
    if ((promptTuningInit === 'TEXT') !== (ids !== undefined)) {
      throw new DeftuneError(
        `prompt-tuning: promptTuningInitIds is ${showValue(ids)}, expected the tokens of the text with promptTuningInit TEXT, and none without`,
      );
    }
    const unknown = ids?.find((id) => id >= model.info.vocabSize);
    if (unknown !== undefined) {
      throw new DeftuneError(
        `prompt-tuning: promptTuningInitIds has ${unknown}, expected ids below ${model.info.vocabSize}`,
      );
    }
    if (model.info.vocabSize > 0) return definedFields({ ...found, promptTuningInit });
    if (promptTuningInit !== 'RANDOM') {
      throw new DeftuneError(
        `prompt-tuning: promptTuningInit is ${showValue(promptTuningInit)}, expected RANDOM for images`,
      );
    }
    return definedFields({ ...found, promptTuningInit, combine: found.combine ?? 'prefix' });
  },

  configFromFile(values, where, model) {
    const found = validate(file, values, where);
    if (model.info.vocabSize === 0) {
      throw new DeftuneError(
        `${where}: peft_type is PROMPT_TUNING, expected another for images (peft has no prompts for them)`,
      );
    }
    checkSizes(found, model, where);
    return definedFields({
      numVirtualTokens: found.num_virtual_tokens,
      promptTuningInit: found.prompt_tuning_init ?? 'RANDOM',
      promptTuningInitText: found.prompt_tuning_init_text ?? undefined,
      tokenizerNameOrPath: found.tokenizer_name_or_path ?? undefined,
    });
  },

  adapters: {
    architecture: 'prompt_tuning',
    configFromFile(values, where) {
      const found = validate(adaptersFile, values, where);
      return definedFields({
        numVirtualTokens: found.prompt_length,
        promptTuningInit: found.prompt_init === 'from_string' ? 'TEXT' : 'RANDOM',
        promptTuningInitText: found.prompt_init_text ?? undefined,
        combine: found.combine,
      });
    },
    configToFile({ combine, numVirtualTokens, promptTuningInit, promptTuningInitText }) {
      if (combine === undefined) {
        throw new DeftuneError(
          "AdapterHub's prompts stand behind the embedding layer, and this one before the words (as peft's), expected combine prefix from the beginning",
        );
      }
      return {
        combine,
        init_weights_seed: null,
        prompt_init: promptTuningInit === 'TEXT' ? 'from_string' : 'random_uniform',
        prompt_init_text: promptTuningInitText ?? null,
        prompt_length: numVirtualTokens,
      };
    },
    savedTensors(model) {
      const { tokens, adaptersNames } = virtualPlace(model, 'embeddings', 'prompt-tuning');
      return tokens instanceof PromptEmbedding && adaptersNames
        ? new Map([[`${adaptersNames.base}.prompt_tuning.prompt_tunings.prompt_embedding.weight`, tokens.weight]])
        : new Map();
    },
  },

  whyNotPeft({ combine }, { info }) {
    if (info.vocabSize === 0) return 'peft has no prompts for images';
    return combine && "peft's prompts stand before the words, and this one behind the embedding layer";
  },

  virtualTokens: ({ numVirtualTokens, combine }) => (combine === undefined ? numVirtualTokens : 0),

  inject(model, { numVirtualTokens, promptTuningInit, promptTuningInitIds, combine }, seed) {
    const where: TokensPlace = combine === undefined ? 'words' : COMBINED[combine];
    const place = virtualPlace(model, where === 'words' ? 'words' : 'embeddings', 'prompt-tuning');
    const rng = new Rng(seed, 0x9207);
    // peft's files have rows for a decoder too.
    const rows = numVirtualTokens * stacksOf(model).length;
    const { width } = place.sizes;
    const values = new Float32Array(rows * width);
    const ids =
      promptTuningInit === 'SAMPLE_VOCAB'
        ? Array.from({ length: rows }, () => Math.floor(rng.nextFloat() * model.info.vocabSize))
        : promptTuningInitIds;
    if (ids && place.words) {
      const words = place.words().toFloats();
      for (let row = 0; row < rows; row++) {
        const id = ids[row % ids.length] as number;
        values.set(words.subarray(id * width, (id + 1) * width), row * width);
      }
    } else {
      // `adapters`: uniform in ±0.5.
      const draw = combine === undefined ? () => rng.nextNormal() : () => rng.nextFloat() - 0.5;
      for (let at = 0; at < values.length; at++) values[at] = draw();
    }
    const tokens = new PromptEmbedding(Parameter.of(model.backend, values, [rows, width]), numVirtualTokens, where);
    tokens.weight.requiresGrad = true;
    for (const parameter of headParameters(model).values()) parameter.requiresGrad = true;
    place.tokens = tokens;
  },

  savedParameters(model) {
    const tokens = stacksOf(model).find((stack) => stack.tokens)?.tokens;
    return new Map<string, SavedTensor>([
      ...(tokens instanceof PromptEmbedding ? [['prompt_embeddings', tokens.weight] as const] : []),
      ...savedHead(model),
    ]);
  },

  configToFile: (model, config, baseModel) => ({
    ...promptLearningFields(model, config.numVirtualTokens, baseModel),
    peft_type: 'PROMPT_TUNING',
    prompt_tuning_init: config.promptTuningInit,
    prompt_tuning_init_text: config.promptTuningInitText ?? null,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: config.tokenizerNameOrPath ?? (config.promptTuningInit === 'TEXT' ? baseModel : null),
  }),

  describe: ({ numVirtualTokens, promptTuningInitText }) =>
    `prompt of ${numVirtualTokens} tokens${promptTuningInitText === undefined ? '' : `, from ${showValue(promptTuningInitText)}`}`,
};
