import type { Backend } from '../backend/backend.js';
import type { GradientHandles, Node } from '../tensor/node.js';
import { Tensor } from '../tensor/tensor.js';

let lastOrder = 0;
let recording = true;
let observer: OperationObserver | undefined;

/** Told of each operation's results. */
export type OperationObserver = (name: string, outputs: readonly Tensor[]) => void;

/** Runs `body` and tells `observe` of every operation in it. */
export function observing<T>(observe: OperationObserver, body: () => T): T {
  const before = observer;
  observer = observe;
  try {
    return body();
  } finally {
    observer = before;
  }
}

/** Runs `body` without recording operations: no gradients, less memory. */
export function noGrad<T>(body: () => T): T {
  const before = recording;
  recording = false;
  try {
    return body();
  } finally {
    recording = before;
  }
}

/** A later place in the order of operations than any so far. */
export function nextOrder(): number {
  lastOrder += 1;
  return lastOrder;
}

/** Whether the result of an operation on these inputs needs a gradient. */
export function needsGrad(...inputs: (Tensor | undefined)[]): boolean {
  return recording && inputs.some((input) => input?.requiresGrad);
}

/**
 * Wraps the results of an operation, and records it where one of its inputs needs a gradient.
 *
 * @param backward receives a handle for each output and returns one for each input, 0 where none is needed.
 * @param saved handles, besides the outputs, that nothing but `backward` reads.
 */
export function record(
  name: string,
  backend: Backend,
  inputs: readonly (Tensor | undefined)[],
  outputs: readonly (readonly [handle: number, shape: readonly number[]])[],
  backward: (grads: GradientHandles) => GradientHandles,
  saved: readonly number[] = [],
): Tensor[] {
  const tensors = outputs.map(([handle, shape]) => new Tensor(backend, handle, shape));
  if (needsGrad(...inputs)) {
    // An operation may return its input as it is: that one belongs to whoever made it.
    const own = [...outputs.map(([handle]) => handle), ...saved].filter(
      (handle) => handle !== 0 && !inputs.some((input) => input?.handle === handle),
    );
    const node: Node = { name, order: nextOrder(), inputs, backward, outputs: outputs.length, saved: own };
    tensors.forEach((tensor, index) => {
      tensor.node = node;
      tensor.outputIndex = index;
      tensor.requiresGrad = true;
    });
  }
  observer?.(name, tensors);
  return tensors;
}

/** {@link record} for an operation with one result. */
export function recordOne(
  name: string,
  backend: Backend,
  inputs: readonly (Tensor | undefined)[],
  handle: number,
  shape: readonly number[],
  backward: (grad: number) => GradientHandles,
  saved: readonly number[] = [],
): Tensor {
  return record(name, backend, inputs, [[handle, shape]], ([grad]) => backward(grad ?? 0), saved)[0] as Tensor;
}
