import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import { maskedLM } from '../heads/masked-lm.js';
import { sequenceClassification } from '../heads/sequence-classification.js';
import type { ForwardContext } from '../nn/forward-context.js';
import type { LayerNorm } from '../nn/layer-norm.js';
import type { LinearLike } from '../nn/linear.js';
import { Module } from '../nn/module.js';
import { Parameter } from '../nn/parameter.js';
import { activationKind } from '../ops/activation-kind.js';
import { dropout } from '../ops/dropout.js';
import { activation } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import { buildBertModel, readBertConfig, type BertConfig, type BertModel, type BertPooler } from './bert-layers.js';
import { ConfigReader } from './config-reader.js';
import { headRows } from './head-rows.js';
import { labelSettings } from './label-settings.js';
import { Model, type FamilyHead, type ModelFamily, type ModelInfo } from './model.js';
import { WeightReader } from './weights.js';

/** BERT with a linear head on the pooled output. */
class BertForSequenceClassification extends Model {
  readonly head = sequenceClassification;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly bert: BertModel,
    readonly classifier: LinearLike,
    private readonly p: number,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const hiddenStates = this.bert.forward(batch, context);
    const pooled = (this.bert.pooler as BertPooler).forward(hiddenStates, batch.cuSeqlens, context);
    const drop = context.dropout(this.p);
    return this.classifier.forward(drop ? dropout(pooled, drop) : pooled, context);
  }
}

/** dense, activation, layer norm before the vocabulary. */
class BertPredictionHeadTransform extends Module {
  constructor(
    readonly dense: LinearLike,
    readonly LayerNorm: LayerNorm,
    private readonly kind: number,
  ) {
    super();
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    return this.LayerNorm.forward(activation(this.dense.forward(x, context), this.kind));
  }
}

/** The vocabulary's scores, by the word embeddings themselves. */
class BertLMPredictionHead extends Module {
  constructor(
    readonly transform: BertPredictionHeadTransform,
    readonly bias: Parameter,
  ) {
    super();
  }
}

class BertOnlyMLMHead extends Module {
  constructor(readonly predictions: BertLMPredictionHead) {
    super();
  }
}

/** BERT that predicts masked tokens. */
class BertForMaskedLM extends Model {
  readonly head = maskedLM;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly bert: BertModel,
    readonly cls: BertOnlyMLMHead,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { transform, bias } = this.cls.predictions;
    const hiddenStates = transform.forward(headRows(this.bert.forward(batch, context), batch), context);
    return linear(hiddenStates, this.bert.embeddings.word_embeddings.weight, bias);
  }
}

/** A head of BERT: its modules' names, and how it is put on the encoder. */
interface BertHead extends FamilyHead {
  modules: readonly string[];
  pooled: boolean;
  attach(backend: Backend, info: ModelInfo, bert: BertModel, weights: WeightReader, config: BertConfig): Model;
}

const HEADS: readonly [BertHead, ...BertHead[]] = [
  {
    head: sequenceClassification,
    architectures: ['BertForSequenceClassification'],
    modules: ['classifier'],
    pooled: true,
    attach(backend, info, bert, weights, config) {
      const classifier = weights.linear('classifier', info.numLabels, config.hiddenSize);
      return new BertForSequenceClassification(backend, info, bert, classifier, config.classifierDropout);
    },
  },
  {
    head: maskedLM,
    architectures: ['BertForMaskedLM', 'BertForPreTraining'],
    modules: [],
    pooled: false,
    attach(backend, info, bert, weights, { hiddenSize, vocabSize, activation: act, eps }) {
      const transform = new BertPredictionHeadTransform(
        weights.linear('cls.predictions.transform.dense', hiddenSize, hiddenSize),
        weights.layerNorm('cls.predictions.transform.LayerNorm', hiddenSize, eps),
        activationKind(act),
      );
      const bias = weights.parameter('cls.predictions.bias', [vocabSize]);
      return new BertForMaskedLM(backend, info, bert, new BertOnlyMLMHead(new BertLMPredictionHead(transform, bias)));
    },
  },
];

/** BERT's entry in the registry of models. */
export const bert: ModelFamily = {
  modelType: 'bert',
  heads: HEADS,
  build(backend, config, source, { head, architectures }, options) {
    const reader = new ConfigReader(config, `${source.name}/config.json`);
    if (!head.hasLabels) reader.only('tie_word_embeddings', true);
    const c = readBertConfig(reader, { dropout: options.dropout, firstPosition: 0, eps: 1e-12 });
    const { modules, pooled, attach } = HEADS.find((entry) => entry.head === head) ?? HEADS[0];
    const info: ModelInfo = {
      modelType: 'bert',
      architecture: architectures[0],
      maxLength: c.positions,
      vocabSize: c.vocabSize,
      ...labelSettings(head, reader, source.get('classifier.weight')?.shape[0], options),
      activation: c.activation,
      headModules: modules,
      loraTargets: ['query', 'value'],
      initializerRange: c.initializerRange,
      config,
    };
    const rules = {
      prefix: 'bert.',
      heads: [...modules.map((name) => `${name}.`), ...(pooled ? ['bert.pooler.'] : ['cls.predictions.'])],
      ignored: [/(^|\.)embeddings\.position_ids$/, /^cls\./, /^bert\.pooler\./, /^classifier\./, /^qa_outputs\./],
    };
    const weights = new WeightReader(backend, source, rules, c.initializerRange, options.seed ?? 0);
    return weights.finish(
      () => attach(backend, info, buildBertModel(weights, 'bert', c, pooled), weights, c),
      options.onNotice,
    );
  },
};
