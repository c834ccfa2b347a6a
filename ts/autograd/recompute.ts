import type { Backend } from '../backend/backend.js';
import type { Node } from '../tensor/node.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { needsGrad, nextOrder, noGrad } from './node.js';

/**
 * Runs `body` and keeps its results only. The backward pass runs it once more, recorded, and goes on through what that recorded: with the
 * gradients, and in the order, of a `body` that was recorded at once.
 *
 * @param inputs what `body` reads that may need gradients
 * @param body must give the same results each time
 */
export function recompute(
  name: string,
  backend: Backend,
  inputs: readonly (Tensor | undefined)[],
  body: () => readonly Tensor[],
): Tensor[] {
  if (!needsGrad(...inputs)) return [...body()];
  const outputs = noGrad(() =>
    scope(backend, () =>
      body().map(({ handle, shape }) => new Tensor(backend, handle === 0 ? 0 : backend.keep(handle, 1), shape)),
    ),
  );
  const node: Node = {
    name,
    order: nextOrder(),
    inputs,
    backward: () => [],
    expand: body,
    outputs: outputs.length,
    saved: outputs.map(({ handle }) => handle).filter((handle) => handle !== 0),
  };
  outputs.forEach((tensor, index) => {
    tensor.node = node;
    tensor.outputIndex = index;
    tensor.requiresGrad = true;
  });
  return outputs;
}
