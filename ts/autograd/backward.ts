import { DeftuneError } from '../error.js';
import type { Node } from '../tensor/node.js';
import type { Tensor } from '../tensor/tensor.js';

/** Options of {@link backward}. */
export interface BackwardOptions {
  /** Factor on the loss; default 1. */
  seed?: number;
  /**
   * Frees what the recorded operations made as soon as the pass is done with it, also tensors that the caller still has: a training
   * step then holds little more than the forward pass left. Default false: everything lives until its scope ends.
   */
  release?: boolean;
}

/**
 * Gradients of a scalar with respect to every leaf that requires one (parameters). Reverse-mode differentiation over the recorded
 * operations, latest first.
 *
 * @returns handle of the gradient by leaf, in the current scope; each leaf has one of its own, which may be written to.
 * @throws DeftuneError where `loss` is not a recorded scalar.
 */
export function backward(loss: Tensor, { seed = 1, release = false }: BackwardOptions = {}): Map<Tensor, number> {
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
  /** How many places hold a gradient. */
  const holders = new Map<number, number>();

  const hold = (grad: number): number => {
    holders.set(grad, (holders.get(grad) ?? 0) + 1);
    return grad;
  };

  const drop = (grad: number): void => {
    const rest = (holders.get(grad) ?? 1) - 1;
    if (rest > 0) {
      holders.set(grad, rest);
      return;
    }
    holders.delete(grad);
    if (!release) return;
    owned.delete(grad);
    backend.free(grad);
  };

  /** Both are held; so is the result. */
  const accumulate = (before: number | undefined, grad: number): number => {
    if (before === undefined) return hold(grad);
    if (owned.has(before)) return backend.addInPlace(before, grad, 1);
    const sum = hold(backend.add(before, grad));
    owned.add(sum);
    drop(before);
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
    if (node.expand) {
      const made = node.expand();
      slots.forEach((grad, index) => {
        const output = made[index];
        if (!grad) return;
        if (output?.requiresGrad) give(output, grad);
        drop(grad);
      });
      if (release) for (const handle of node.saved) backend.free(handle);
      continue;
    }
    // An operation may pass its gradient on, to several inputs even: from here on others may hold it.
    for (const handle of slots) if (handle) owned.delete(handle);
    const grads = node.backward(Array.from(slots, (handle) => handle ?? 0));
    const made = grads.filter((grad) => grad !== 0);
    made.forEach(hold);
    node.inputs.forEach((input, index) => {
      if (!input?.requiresGrad) return;
      const grad = grads[index];
      if (!grad) throw new DeftuneError(`${node.name}: no gradient for input ${index}, which requires one`);
      give(input, grad);
    });
    for (const grad of made) drop(grad);
    for (const grad of slots) if (grad) drop(grad);
    // Later operations that read its outputs have run already.
    if (release) for (const handle of node.saved) backend.free(handle);
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
