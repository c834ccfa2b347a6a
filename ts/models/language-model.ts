import type { RaggedBatch } from '../data/batching.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { linear } from '../ops/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import { Model } from './model.js';

/** Scores of the vocabulary: logits = hiddenStates · weightᵀ + bias. */
export interface Vocabulary {
  /** [vocabSize, d]; often the word embeddings themselves. */
  weight: Tensor;
  /** [vocabSize] */
  bias?: Tensor | undefined;
}

/** A model whose head scores the vocabulary. */
export abstract class LanguageModel extends Model {
  abstract readonly vocabulary: Vocabulary;

  /** What the vocabulary is scored by, at the batch's `outputRows` [labelled tokens, d]. */
  abstract hiddenStates(batch: RaggedBatch, context: ForwardContext): Tensor;

  /** logits [labelled tokens, vocabSize] */
  forward(batch: RaggedBatch, context: ForwardContext): Tensor {
    const { weight, bias } = this.vocabulary;
    return linear(this.hiddenStates(batch, context), weight, bias);
  }
}
