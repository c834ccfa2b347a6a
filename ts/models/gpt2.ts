import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import { causalLM } from '../heads/causal-lm.js';
import { questionAnswering } from '../heads/question-answering.js';
import { sequenceClassification } from '../heads/sequence-classification.js';
import { tokenClassification } from '../heads/token-classification.js';
import type { Embedding } from '../nn/embedding.js';
import { ForwardContext } from '../nn/forward-context.js';
import type { LinearLike } from '../nn/linear.js';
import { dropout } from '../ops/dropout.js';
import { linear } from '../ops/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import { ConfigReader } from './config-reader.js';
import { CachedDecoding, type Decoding } from './decoding.js';
import { generationTokens } from './generation-tokens.js';
import { buildGPT2Model, readGPT2Config, type GPT2Config, type GPT2Model } from './gpt2-layers.js';
import { labelSettings } from './label-settings.js';
import { LanguageModel, type Vocabulary } from './language-model.js';
import { Model, type FamilyHead, type ModelFamily, type ModelInfo } from './model.js';
import { WeightReader } from './weights.js';

/** GPT-2 that scores the classes at each sequence's last token. */
class GPT2ForSequenceClassification extends Model {
  readonly head = sequenceClassification;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly transformer: GPT2Model,
    readonly score: LinearLike,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const rows = lastRows(batch, this.info.padTokenId);
    return this.score.forward(this.transformer.pooled(batch, rows, context), context);
  }
}

/** Rows of the last token of each sequence that is not the padding token; the first row where all are, as in transformers. */
function lastRows({ inputIds, cuSeqlens, size }: RaggedBatch, padTokenId: number | undefined): Int32Array {
  return Int32Array.from({ length: size }, (_, sequence) => {
    const start = cuSeqlens[sequence] as number;
    let row = (cuSeqlens[sequence + 1] as number) - 1;
    while (row > start && inputIds[row] === padTokenId) row -= 1;
    return row;
  });
}

/** GPT-2 with a linear head on every token. */
class GPT2ForTokenClassification extends Model {
  readonly head = tokenClassification;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly transformer: GPT2Model,
    readonly classifier: LinearLike,
    private readonly p: number,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const hiddenStates = this.transformer.forward(batch, context);
    const drop = context.dropout(this.p);
    return this.classifier.forward(drop ? dropout(hiddenStates, drop) : hiddenStates, context);
  }
}

/** GPT-2 that scores each token as the start and as the end of an answer. */
class GPT2ForQuestionAnswering extends Model {
  readonly head = questionAnswering;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly transformer: GPT2Model,
    readonly qa_outputs: LinearLike,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    return this.qa_outputs.forward(this.transformer.forward(batch, context), context);
  }
}

/** GPT-2 that predicts the next token, by the word embeddings unless it has a matrix of its own (`lm_head`). */
class GPT2LMHeadModel extends LanguageModel {
  readonly head = causalLM;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly transformer: GPT2Model,
    readonly lm_head?: Embedding,
  ) {
    super();
  }

  get vocabulary(): Vocabulary {
    return { weight: this.lm_head?.weight ?? this.transformer.wte.weight };
  }

  override startDecoding(prompts: readonly ArrayLike<number>[]): Decoding {
    return new CachedDecoding(this.backend, prompts, (input, cache) =>
      linear(this.transformer.forward(input, new ForwardContext(), cache), this.vocabulary.weight),
    );
  }

  hiddenStates(batch: RaggedBatch, context: ForwardContext): Tensor {
    return this.transformer.forward(batch, context);
  }
}

/** What a head is built from. */
interface HeadParts {
  backend: Backend;
  info: ModelInfo;
  transformer: GPT2Model;
  weights: WeightReader;
  config: GPT2Config;
}

/** A head of GPT-2: its modules' names, and how it is put on the transformer. */
interface GPT2Head extends FamilyHead {
  modules: readonly string[];
  attach(parts: HeadParts): Model;
}

const HEADS: readonly [GPT2Head, ...GPT2Head[]] = [
  {
    head: causalLM,
    architectures: ['GPT2LMHeadModel', 'GPT2DoubleHeadsModel'],
    modules: [],
    attach({ backend, info, transformer, weights, config: { tied, vocabSize, hiddenSize } }) {
      const lmHead = tied ? undefined : weights.embedding('lm_head', vocabSize, hiddenSize);
      return new GPT2LMHeadModel(backend, info, transformer, lmHead);
    },
  },
  {
    head: sequenceClassification,
    architectures: ['GPT2ForSequenceClassification'],
    modules: ['score'],
    labelTensor: 'score.weight',
    attach({ backend, info, transformer, weights, config }) {
      const score = weights.linear('score', info.numLabels, config.hiddenSize, { bias: false });
      return new GPT2ForSequenceClassification(backend, info, transformer, score);
    },
  },
  {
    head: tokenClassification,
    architectures: ['GPT2ForTokenClassification'],
    modules: ['classifier'],
    labelTensor: 'classifier.weight',
    attach({ backend, info, transformer, weights, config }) {
      const classifier = weights.linear('classifier', info.numLabels, config.hiddenSize);
      return new GPT2ForTokenClassification(backend, info, transformer, classifier, config.classifierDropout);
    },
  },
  {
    head: questionAnswering,
    architectures: ['GPT2ForQuestionAnswering'],
    modules: ['qa_outputs'],
    attach({ backend, info, transformer, weights, config }) {
      const outputs = weights.linear('qa_outputs', 2, config.hiddenSize);
      return new GPT2ForQuestionAnswering(backend, info, transformer, outputs);
    },
  },
];

/** GPT-2's entry in the registry of models (Radford et al. 2019). */
export const gpt2: ModelFamily = {
  modelType: 'gpt2',
  heads: HEADS,
  withActivation: (config, name) => ({ ...config, activation_function: name }),
  build(backend, config, source, { head, architectures }, options) {
    const reader = new ConfigReader(config, `${source.name}/config.json`);
    const c = readGPT2Config(reader, options.dropout);
    const { modules, labelTensor = '', attach } = HEADS.find((entry) => entry.head === head) ?? HEADS[0];
    const info: ModelInfo = {
      modelType: 'gpt2',
      architecture: architectures[0],
      maxLength: c.positions,
      vocabSize: c.vocabSize,
      padTokenId: c.padTokenId,
      eosTokenIds: generationTokens(source.name, config, options.generationConfig).eosTokenIds,
      ...labelSettings(head, reader, source.get(labelTensor)?.shape[0], options),
      activation: c.activation,
      headModules: modules,
      loraTargets: ['c_attn'],
      ia3: { targets: ['c_attn', 'mlp.c_proj'], feedforward: ['mlp.c_proj'] },
      linears: { qkv: /\.attn\.c_attn$/, intermediate: /\.mlp\.c_fc$/, output: /\.mlp\.c_proj$/ },
      initializerRange: c.initializerRange,
      config,
    };
    const rules = {
      prefix: 'transformer.',
      heads: modules.map((name) => `${name}.`),
      besides: head === causalLM && !c.tied ? ['lm_head.'] : [],
      ignored: [
        /\.attn\.(bias|masked_bias)$/,
        ...HEADS.flatMap((entry) => entry.modules).map((name) => new RegExp(`^${name}\\.`)),
        ...(head === causalLM && !c.tied ? [] : [/^lm_head\./]),
        /^multiple_choice_head\./,
      ],
    };
    const weights = new WeightReader(backend, source, rules, c.initializerRange, options);
    const build = (): Model => {
      const transformer = buildGPT2Model(weights, c);
      return attach({ backend, info, transformer, weights, config: c });
    };
    return weights.finish(build, options.onNotice);
  },
};
