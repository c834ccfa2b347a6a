import { noGrad, observing } from '../autograd/node.js';
import type { Model } from '../models/model.js';
import { scope } from '../tensor/scope.js';

/** Names the first tensor of a forward pass that holds NaN or infinity: a parameter, else the result of an operation. */
export function firstNonFinite(model: Model, forward: () => unknown): string {
  const { backend } = model;
  const isFinite = (handle: number): boolean => backend.readF32(handle).every(Number.isFinite);
  for (const [name, parameter] of model.namedParameters()) {
    if (!isFinite(parameter.handle)) return `the parameter ${name}`;
  }
  let number = 0;
  let found: string | undefined;
  noGrad(() =>
    scope(backend, () =>
      observing((name, outputs) => {
        number += 1;
        for (const { handle } of outputs) {
          if (found !== undefined || handle === 0 || isFinite(backend.toDense(handle))) continue;
          found = `the result of operation ${number} of the forward pass, ${name}`;
        }
      }, forward),
    ),
  );
  return found ?? 'the sum of the losses';
}
