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
import { bertFamily, type EncoderHead } from './bert-family.js';
import type { BertModel } from './bert-layers.js';
import { headRows } from './head-rows.js';
import { LanguageModel, type Vocabulary } from './language-model.js';
import { Model, type ModelFamily, type ModelInfo } from './model.js';

/** Two layers on each sequence's first token, dropout before both. */
class RobertaClassificationHead extends Module {
  constructor(
    readonly dense: LinearLike,
    readonly out_proj: LinearLike,
    private readonly p: number,
  ) {
    super();
  }

  /** [sequences, numLabels] @param first as of {@link BertModel.firstTokens} */
  forward(first: Tensor, context: ForwardContext): Tensor {
    const dropped = (x: Tensor): Tensor => {
      const drop = context.dropout(this.p);
      return drop ? dropout(x, drop) : x;
    };
    const inner = activation(this.dense.forward(dropped(first), context), activationKind('tanh'));
    return this.out_proj.forward(dropped(inner), context);
  }
}

class RobertaForSequenceClassification extends Model {
  readonly head = sequenceClassification;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly roberta: BertModel,
    readonly classifier: RobertaClassificationHead,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const read = this.roberta.extend(batch);
    return this.classifier.forward(this.roberta.firstTokens(read, context), context);
  }
}

/** RoBERTa with a linear head on every token. */
class RobertaForTokenClassification extends Model {
  readonly head = tokenClassification;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly roberta: BertModel,
    readonly classifier: LinearLike,
    private readonly p: number,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const read = this.roberta.extend(batch);
    const hiddenStates = headRows(this.roberta.forward(read, context), read);
    const drop = context.dropout(this.p);
    return this.classifier.forward(drop ? dropout(hiddenStates, drop) : hiddenStates, context);
  }
}

/** RoBERTa that scores each token as the start and as the end of an answer. */
class RobertaForQuestionAnswering extends Model {
  readonly head = questionAnswering;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly roberta: BertModel,
    readonly qa_outputs: LinearLike,
  ) {
    super();
  }

  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const read = this.roberta.extend(batch);
    return this.qa_outputs.forward(headRows(this.roberta.forward(read, context), read), context);
  }
}

/** dense, GELU (whatever the encoder's activation), layer norm; then the word embeddings themselves, and a bias. */
class RobertaLMHead extends Module {
  constructor(
    readonly dense: LinearLike,
    readonly layer_norm: LayerNorm,
    readonly bias: Parameter,
  ) {
    super();
  }

  /** [rows, d] */
  forward(x: Tensor, context: ForwardContext): Tensor {
    return this.layer_norm.forward(activation(this.dense.forward(x, context), activationKind('gelu')));
  }
}

/** RoBERTa that predicts masked tokens. */
class RobertaForMaskedLM extends LanguageModel {
  readonly head = maskedLM;

  constructor(
    readonly backend: Backend,
    readonly info: ModelInfo,
    readonly roberta: BertModel,
    readonly lm_head: RobertaLMHead,
  ) {
    super();
  }

  get vocabulary(): Vocabulary {
    return { weight: this.roberta.embeddings.word_embeddings.weight, bias: this.lm_head.bias };
  }

  hiddenStates(batch: RaggedBatch, context: ForwardContext): Tensor {
    const read = this.roberta.extend(batch);
    return this.lm_head.forward(headRows(this.roberta.forward(read, context), read), context);
  }
}

/** @param name of the classes in transformers, before `For` */
function heads(name: string): readonly [EncoderHead, ...EncoderHead[]] {
  return [
    {
      head: sequenceClassification,
      architectures: [`${name}ForSequenceClassification`],
      modules: ['classifier'],
      labelTensor: 'classifier.out_proj.weight',
      pooled: false,
      attach({ backend, info, encoder, weights, config: { hiddenSize, classifierDropout } }) {
        const classifier = new RobertaClassificationHead(
          weights.linear('classifier.dense', hiddenSize, hiddenSize),
          weights.linear('classifier.out_proj', info.numLabels, hiddenSize),
          classifierDropout,
        );
        return new RobertaForSequenceClassification(backend, info, encoder, classifier);
      },
    },
    {
      head: tokenClassification,
      architectures: [`${name}ForTokenClassification`],
      modules: ['classifier'],
      labelTensor: 'classifier.weight',
      pooled: false,
      attach({ backend, info, encoder, weights, config }) {
        const classifier = weights.linear('classifier', info.numLabels, config.hiddenSize);
        return new RobertaForTokenClassification(backend, info, encoder, classifier, config.classifierDropout);
      },
    },
    {
      head: questionAnswering,
      architectures: [`${name}ForQuestionAnswering`],
      modules: ['qa_outputs'],
      pooled: false,
      attach({ backend, info, encoder, weights, config }) {
        const outputs = weights.linear('qa_outputs', 2, config.hiddenSize);
        return new RobertaForQuestionAnswering(backend, info, encoder, outputs);
      },
    },
    {
      head: maskedLM,
      architectures: [`${name}ForMaskedLM`],
      modules: [],
      pretrained: ['lm_head'],
      pooled: false,
      attach({ backend, info, encoder, weights, config: { hiddenSize, vocabSize, eps } }) {
        const lmHead = new RobertaLMHead(
          weights.linear('lm_head.dense', hiddenSize, hiddenSize),
          weights.layerNorm('lm_head.layer_norm', hiddenSize, eps),
          weights.parameter('lm_head.bias', [vocabSize]),
        );
        return new RobertaForMaskedLM(backend, info, encoder, lmHead);
      },
    },
  ];
}

/**
 * Positions count from the one after the padding token's number; the padding token itself, where a text has it, has that number and
 * does not count (fairseq's `make_positions`).
 */
export function robertaPositionIds({ inputIds, positionIds, cuSeqlens }: RaggedBatch, padTokenId: number): Int32Array {
  const result = new Int32Array(positionIds.length);
  for (let sequence = 0; sequence + 1 < cuSeqlens.length; sequence++) {
    let padded = 0;
    for (let token = cuSeqlens[sequence] as number; token < (cuSeqlens[sequence + 1] as number); token++) {
      const isPadding = inputIds[token] === padTokenId;
      if (isPadding) padded += 1;
      result[token] = padTokenId + (isPadding ? 0 : (positionIds[token] as number) + 1 - padded);
    }
  }
  return result;
}

function robertaFamily(modelType: string, name: string): ModelFamily {
  return bertFamily({
    modelType,
    prefix: 'roberta',
    eps: 1e-12,
    padTokenId: 1,
    reservedPositions: (padTokenId) => padTokenId + 1,
    positionIds: (batch, { padTokenId }) => robertaPositionIds(batch, padTokenId),
    renames: [[/^lm_head\.decoder\.bias$/, 'lm_head.bias']],
    heads: heads(name),
  });
}

/** RoBERTa's entry in the registry of models (Liu et al. 2019). */
export const roberta: ModelFamily = robertaFamily('roberta', 'Roberta');
/** XLM-RoBERTa (Conneau et al. 2020): RoBERTa with another vocabulary. */
export const xlmRoberta: ModelFamily = robertaFamily('xlm-roberta', 'XLMRoberta');
/** CamemBERT (Martin et al. 2020): RoBERTa in French. */
export const camembert: ModelFamily = robertaFamily('camembert', 'Camembert');
