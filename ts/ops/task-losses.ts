import { recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Mean cross-entropy over the labels that are not -100; NaN where there is none. logits [n, classes], labels [n] of integers.
 *
 * @param labelSmoothing e in (1 - e) · (-log p[label]) + e · mean over the classes of -log p, 0 to 1 (PyTorch's definition); default 0
 */
export function crossEntropy(logits: Tensor, labels: Tensor, labelSmoothing = 0): Tensor {
  const results = logits.backend.crossEntropy(logits.handle, labels.handle, labelSmoothing);
  return withGradient('crossEntropy', logits, results);
}

/**
 * Cross-entropy of a softmax over each sequence's own tokens, column by column; the mean over the labels that are not -100. Where an
 * answer starts and ends: transformers' loss of extractive question answering, without its padding.
 *
 * @param logits [tokens, cols]
 * @param labels [sequences · cols] of token numbers within the sequence
 * @param cuSeqlens offsets of the sequences
 */
export function sequenceCrossEntropy(logits: Tensor, labels: Tensor, cuSeqlens: Tensor): Tensor {
  const results = logits.backend.sequenceCrossEntropy(logits.handle, labels.handle, cuSeqlens.handle);
  return withGradient('sequenceCrossEntropy', logits, results);
}

/** Mean squared error over all elements. */
export function meanSquaredError(prediction: Tensor, target: Tensor): Tensor {
  const results = prediction.backend.meanSquaredError(prediction.handle, target.handle);
  return withGradient('meanSquaredError', prediction, results);
}

/** The core returns the loss and its gradient together. */
function withGradient(name: string, x: Tensor, results: ArrayLike<number>): Tensor {
  const { backend } = x;
  const [loss = 0, dx = 0] = Array.from(results);
  return recordOne(name, backend, [x], loss, [1, 1], (dLoss) => [backend.scale(dx, backend.readF32(dLoss)[0] ?? 0)]);
}
