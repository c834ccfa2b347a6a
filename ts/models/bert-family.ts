import type { Backend } from '../backend/backend.js';
import { buildBertModel, readBertConfig, type BertConfig, type BertModel, type BertVariant } from './bert-layers.js';
import { ConfigReader } from './config-reader.js';
import { labelSettings } from './label-settings.js';
import type { FamilyHead, Model, ModelFamily, ModelInfo } from './model.js';
import { WeightReader } from './weights.js';

/** What a head is built from. */
export interface HeadParts {
  backend: Backend;
  info: ModelInfo;
  encoder: BertModel;
  weights: WeightReader;
  config: BertConfig;
}

/** A head on a BERT-like encoder. */
export interface EncoderHead extends FamilyHead {
  /** Modules that are trained whole and saved with an adapter. */
  modules: readonly string[];
  /** Modules that a base checkpoint lacks and that are not those of the task, e.g. a pooler; default none. */
  pretrained?: readonly string[];
  /** Whether it reads pooled sequences. */
  pooled: boolean;
  attach(parts: HeadParts): Model;
}

/** A family whose encoder is BERT's. */
export interface BertFamily extends BertVariant {
  modelType: string;
  /** Name of the encoder in checkpoints, without dot. */
  prefix: string;
  heads: readonly [EncoderHead, ...EncoderHead[]];
  /** Other spellings of checkpoint names. */
  renames?: readonly (readonly [RegExp, string])[];
}

/** The registry's entry of a family whose encoder is BERT's. */
export function bertFamily(family: BertFamily): ModelFamily {
  const { modelType, prefix, heads, renames = [] } = family;
  // Those of other heads are left unread.
  const everyModule = [...new Set(heads.flatMap(({ modules, pretrained = [] }) => [...modules, ...pretrained]))];
  const ignored = [
    /(^|\.)embeddings\.(position|token_type)_ids$/,
    new RegExp(`^${prefix}\\.pooler\\.`),
    ...everyModule.map((name) => new RegExp(`^${name.replaceAll('.', '\\.')}\\.`)),
    // Next sentence prediction.
    /^cls\.seq_relationship\./,
  ];
  return {
    modelType,
    heads,
    withActivation: (config, name) => ({ ...config, hidden_act: name }),
    build(backend, config, source, { head, architectures }, options) {
      const reader = new ConfigReader(config, `${source.name}/config.json`);
      const chosen = heads.find((entry) => entry.head === head) ?? heads[0];
      const { modules, pretrained = [], labelTensor = '', pooled, attach } = chosen;
      if (modules.length === 0) reader.only('tie_word_embeddings', true);
      const c = readBertConfig(reader, family, options.dropout);
      const info: ModelInfo = {
        modelType,
        architecture: architectures[0],
        maxLength: c.maxLength,
        vocabSize: c.vocabSize,
        padTokenId: c.padTokenId,
        ...labelSettings(head, reader, source.get(labelTensor)?.shape[0], options),
        activation: c.activation,
        headModules: modules,
        loraTargets: ['query', 'value'],
        ia3: { targets: ['key', 'value', 'output.dense'], feedforward: ['output.dense'] },
        linears: {
          q: /\.attention\.self\.query$/,
          k: /\.attention\.self\.key$/,
          v: /\.attention\.self\.value$/,
          intermediate: /\.intermediate\.dense$/,
          output: /\.\d+\.output\.dense$/,
        },
        initializerRange: c.initializerRange,
        config,
      };
      const rules = {
        prefix: `${prefix}.`,
        heads: [...modules, ...pretrained, ...(pooled ? [`${prefix}.pooler`] : [])].map((name) => `${name}.`),
        ignored,
        renames,
      };
      const weights = new WeightReader(backend, source, rules, c.initializerRange, options);
      const build = (): Model => {
        const encoder = buildBertModel(weights, prefix, c, family, pooled);
        return attach({ backend, info, encoder, weights, config: c });
      };
      return weights.finish(build, options.onNotice);
    },
  };
}
