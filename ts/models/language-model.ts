import { noGrad } from '../autograd/node.js';
import type { RaggedBatch } from '../data/batching.js';
import type { HeadOutput } from '../heads/head.js';
import type { ForwardContext } from '../nn/forward-context.js';
import { outputsOfRows } from '../heads/language-model.js';
import { linear } from '../ops/linear.js';
import { linearCrossEntropy, type LinearCrossEntropy } from '../ops/linear-cross-entropy.js';
import { Tensor } from '../tensor/tensor.js';
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

  /** The head's loss, whose logits never exist all at once: a vocabulary times the tokens of a batch may not fit in memory. */
  override taskLoss(batch: RaggedBatch, context: ForwardContext): Tensor {
    return this.crossEntropy(batch, context).loss;
  }

  override outputs(batch: RaggedBatch, context: ForwardContext): HeadOutput[] {
    if (!batch.labels?.length) {
      // Nothing to score, but the densities of the pass are wanted.
      this.hiddenStates({ ...batch, outputRows: Int32Array.of(0) }, context);
      return outputsOfRows({ losses: [], hits: [] }, batch);
    }
    const { rowLosses, hits } = noGrad(() => this.crossEntropy(batch, context));
    return outputsOfRows({ losses: rowLosses.toFloats(), hits: hits?.toFloats() ?? [] }, batch);
  }

  private crossEntropy(batch: RaggedBatch, context: ForwardContext): LinearCrossEntropy {
    const { weight, bias } = this.vocabulary;
    const labels = Tensor.fromInts(this.backend, Int32Array.from(batch.labels ?? []));
    return linearCrossEntropy(this.hiddenStates(batch, context), weight, bias, labels, context.labelSmoothing);
  }
}
