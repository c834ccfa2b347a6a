import { DeftuneError } from '../error.js';
import type { Node } from '../tensor/node.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Gradients of a scalar with respect to every leaf that requires one (parameters). Reverse-mode differentiation over the recorded
 * operations, latest first.
 *
 * @returns handle of the gradient by leaf, in the current scope; each leaf has one of its own, which may be written to.
 * @throws DeftuneError where `loss` is not a recorded scalar.
 */
export function backward(loss: Tensor, seed = 1): Map<Tensor, number> {
  if (loss.size !== 1 || !loss.node) {
    throw new DeftuneError(
      `backward needs a loss of one element that depends on a trainable parameter, got shape [${loss.shape.join(', ')}]`,
    );
  }
  const { backend } = loss;
  const leaves = new Map<Tensor, number>();
  const pending = new Map<Node, (number | undefined)[]>();
  /** Sums made here that nobody else has seen, which may be added to in place; an operation's own results may be shared. */
  const owned = new Set<number>();

  const accumulate = (before: number | undefined, grad: number): number => {
    if (before === undefined) return grad;
    if (owned.has(before)) return backend.addInPlace(before, grad, 1);
    const sum = backend.add(before, grad);
    owned.add(sum);
    return sum;
  };

  const give = (tensor: Tensor, grad: number): void => {
    if (!tensor.node) {
      leaves.set(tensor, accumulate(leaves.get(tensor), grad));
      return;
    }
    const slots = pending.get(tensor.node) ?? new Array<number | undefined>(tensor.node.outputs);
    slots[tensor.outputIndex] = accumulate(slots[tensor.outputIndex], grad);
    pending.set(tensor.node, slots);
  };

  give(loss, backend.uploadF32(Float32Array.of(seed), 1, 1));
  while (pending.size > 0) {
    let latest: Node | undefined;
    for (const node of pending.keys()) if (!latest || node.order > latest.order) latest = node;
    const node = latest as Node;
    const slots = pending.get(node) ?? [];
    pending.delete(node);
    // An operation may pass its gradient on, to several inputs even: from here on others may hold it.
    for (const handle of slots) if (handle) owned.delete(handle);
    const grads = node.backward(Array.from(slots, (handle) => handle ?? 0));
    node.inputs.forEach((input, index) => {
      if (!input?.requiresGrad) return;
      const grad = grads[index];
      if (!grad) throw new DeftuneError(`${node.name}: no gradient for input ${index}, which requires one`);
      give(input, grad);
    });
  }
  // An operation may hand one gradient to several inputs (a + b).
  const given = new Set<number>();
  for (const [leaf, grad] of leaves) {
    const isShared = given.has(grad);
    if (isShared) leaves.set(leaf, backend.toDense(grad));
    else given.add(grad);
  }
  return leaves;
}
