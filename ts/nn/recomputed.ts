import { recompute } from '../autograd/recompute.js';
import { Tensor } from '../tensor/tensor.js';
import type { ForwardContext, MlpObservation } from './forward-context.js';
import type { Module } from './module.js';

/**
 * Runs one layer so that, where the context asks for it, its activations are made again in the backward pass instead of being kept
 * (Chen et al. 2016). Dropout draws the same masks again, so that every number of the step stays the same.
 *
 * @param layer whose parameters the pass reads
 * @param x what it is applied to
 * @param body the pass; it may read other recorded tensors
 * @param others those tensors, where they need gradients
 */
export function recomputed(
  layer: Module,
  x: Tensor,
  context: ForwardContext,
  body: (x: Tensor) => Tensor,
  others: readonly (Tensor | undefined)[] = [],
): Tensor {
  if (!context.recompute) return body(x);
  const { backend } = x;
  const parameters = [...layer.namedParameters()].map(([, parameter]) => parameter);
  const mark = context.mark();
  const first = context.mlps.length;
  let seen: MlpObservation[] = [];
  const run = (): Tensor[] => {
    context.rewind(mark);
    const before = context.mlps.length;
    const hiddenStates = body(x);
    const observed = context.mlps.splice(before);
    // Counted at once: the activations are not kept.
    seen = observed.map((mlp) => ({ ...mlp, nonzeros: mlp.nonzeros ?? mlp.out.backend.nonzeros(mlp.out.handle) }));
    return [hiddenStates, ...observed.flatMap(({ featureMap, elementMean }) => [featureMap, elementMean])];
  };
  const [hiddenStates, ...statistics] = recompute('recomputed', backend, [x, ...others, ...parameters], run);
  const mlps = seen.map((mlp, index) => ({
    ...mlp,
    featureMap: statistics[2 * index] as Tensor,
    elementMean: statistics[2 * index + 1] as Tensor,
  }));
  context.mlps.splice(first, 0, ...mlps);
  return hiddenStates as Tensor;
}
