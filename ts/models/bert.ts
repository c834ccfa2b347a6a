import type { Backend } from '../backend/backend.js';
import type { RaggedBatch } from '../data/batching.js';
import { maskedLM } from '../heads/masked-lm.js';
import { questionAnswering } from '../heads/question-answering.js';
import { sequenceClassification } from '../heads/sequence-classification.js';
import { tokenClassification } from '../heads/token-classification.js';
import type { ForwardContext } from '../nn/forward-context.js';
import type { LayerNorm } from '../nn/layer-norm.js';
import type { LinearLike } from '../nn/linear.js';
import { Module } from '../nn/module.js';
import type { Parameter } from '../nn/parameter.js';
import { activationKind } from '../ops/activation-kind.js';
import { dropout } from '../ops/dropout.js';
import { activation } from '../ops/elementwise.js';
import type { Tensor } from '../tensor/tensor.js';
import { bertFamily } from './bert-family.js';
import type { BertModel, BertPooler } from './bert-layers.js';
import { headRows } from './head-rows.js';
import { LanguageModel, type Vocabulary } from './language-model.js';
import { Model, type ModelFamily, type ModelInfo } from './model.js';

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
    const read = this.bert.extend(batch);
    const pooled = (this.bert.pooler as BertPooler).forward(this.bert.firstTokens(read, context), context);
    const drop = context.dropout(this.p);
    return this.classifier.forward(drop ? dropout(pooled, drop) : pooled, context);
  }
}

/** BERT with a linear head on every token. */
class BertForTokenClassification extends Model {
  readonly head = tokenClassification;

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
    const read = this.bert.extend(batch);
    const hiddenStates = headRows(this.bert.forward(read, context), read);
    const drop = context.dropout(this.p);
    return this.classifier.forward(drop ? dropout(hiddenStates, drop) : hiddenStates, context);
  }
}

/** BERT that scores each token as the start and as the end of an answer. */
class BertForQuestionAnswering extends Model {
  readonly head = questionAnswering;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly bert: BertModel,
    readonly qa_outputs: LinearLike,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const read = this.bert.extend(batch);
    return this.qa_outputs.forward(headRows(this.bert.forward(read, context), read), context);
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
class BertForMaskedLM extends LanguageModel {
  readonly head = maskedLM;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly bert: BertModel,
    readonly cls: BertOnlyMLMHead,
  ) {
    super();
  }

  get vocabulary(): Vocabulary {
    return { weight: this.bert.embeddings.word_embeddings.weight, bias: this.cls.predictions.bias };
  }

  hiddenStates(batch: RaggedBatch, context: ForwardContext): Tensor {
    const read = this.bert.extend(batch);
    return this.cls.predictions.transform.forward(headRows(this.bert.forward(read, context), read), context);
  }
}

/** BERT's entry in the registry of models (Devlin et al. 2019). */
export const bert: ModelFamily = bertFamily({
  modelType: 'bert',
  prefix: 'bert',
  eps: 1e-12,
  padTokenId: 0,
  reservedPositions: () => 0,
  positionIds: (batch) => batch.positionIds,
  renames: [[/^cls\.predictions\.decoder\.bias$/, 'cls.predictions.bias']],
  heads: [
    {
      head: sequenceClassification,
      architectures: ['BertForSequenceClassification'],
      modules: ['classifier'],
      labelTensor: 'classifier.weight',
      pooled: true,
      attach({ backend, info, encoder, weights, config }) {
        const classifier = weights.linear('classifier', info.numLabels, config.hiddenSize);
        return new BertForSequenceClassification(backend, info, encoder, classifier, config.classifierDropout);
      },
    },
    {
      head: tokenClassification,
      architectures: ['BertForTokenClassification'],
      modules: ['classifier'],
      labelTensor: 'classifier.weight',
      pooled: false,
      attach({ backend, info, encoder, weights, config }) {
        const classifier = weights.linear('classifier', info.numLabels, config.hiddenSize);
        return new BertForTokenClassification(backend, info, encoder, classifier, config.classifierDropout);
      },
    },
    {
      head: questionAnswering,
      architectures: ['BertForQuestionAnswering'],
      modules: ['qa_outputs'],
      pooled: false,
      attach({ backend, info, encoder, weights, config }) {
        const outputs = weights.linear('qa_outputs', 2, config.hiddenSize);
        return new BertForQuestionAnswering(backend, info, encoder, outputs);
      },
    },
    {
      head: maskedLM,
      architectures: ['BertForMaskedLM', 'BertForPreTraining'],
      modules: [],
      pretrained: ['cls.predictions'],
      pooled: false,
      attach({ backend, info, encoder, weights, config: { hiddenSize, vocabSize, activation: act, eps } }) {
        const transform = new BertPredictionHeadTransform(
          weights.linear('cls.predictions.transform.dense', hiddenSize, hiddenSize),
          weights.layerNorm('cls.predictions.transform.LayerNorm', hiddenSize, eps),
          activationKind(act),
        );
        const bias = weights.parameter('cls.predictions.bias', [vocabSize]);
        const cls = new BertOnlyMLMHead(new BertLMPredictionHead(transform, bias));
        return new BertForMaskedLM(backend, info, encoder, cls);
      },
    },
  ],
});
