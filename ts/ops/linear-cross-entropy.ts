import { needsGrad, recordOne } from '../autograd/node.js';
import { Tensor } from '../tensor/tensor.js';

/** What a language model's loss came to. */
export interface LinearCrossEntropy {
  /** Mean over the labels that are not -100 [1, 1]; NaN where there is none. */
  loss: Tensor;
  /** Loss of each row [n, 1], 0 where its label is -100. No gradient flows through it. */
  rowLosses: Tensor;
  /** 1 for each row whose label has the largest logit (the first of equals) [n, 1]; only where no gradient is wanted. */
  hits: Tensor | undefined;
}

/**
 * crossEntropy(hidden · weightᵀ + bias, labels) without the logits of all rows at once: the rows pass in chunks, and those without a
 * label are left out. Gradients are computed on the way, so that the logits are made once.
 *
 * @param hidden [n, d]
 * @param weight [vocabulary, d]
 * @param bias [vocabulary]
 * @param labels [n] of integers, -100 where the row is ignored
 * @param labelSmoothing as in `crossEntropy`; default 0
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  labels: Tensor,
  labelSmoothing = 0,
): LinearCrossEntropy {
  const { backend } = hidden;
  const inputs = [hidden, weight, bias] as const;
  const wanted = inputs.map((input) => needsGrad(input)) as [boolean, boolean, boolean];
  const [loss = 0, rowLosses = 0, dHidden = 0, dWeight = 0, dBias = 0, hits = 0] = Array.from(
    backend.linearCrossEntropy(
      hidden.handle,
      weight.handle,
      bias?.handle ?? 0,
      labels.handle,
      labelSmoothing,
      ...wanted,
    ),
  );
  return {
    loss: recordOne('linearCrossEntropy', backend, inputs, loss, [1, 1], (dLoss) => {
      const upstream = backend.readF32(dLoss)[0] ?? 0;
      return [dHidden, dWeight, dBias].map((gradient) =>
        gradient && upstream !== 1 ? backend.scale(gradient, upstream) : gradient,
      );
    }),
    rowLosses: new Tensor(backend, rowLosses, [hidden.rows, 1]),
    hits: hits ? new Tensor(backend, hits, [hidden.rows, 1]) : undefined,
  };
}
