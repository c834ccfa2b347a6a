import { noGrad } from '../autograd/node.js';
import type { Example } from '../data/batching.js';
import type { Model } from '../models/model.js';
import { ForwardContext } from '../nn/forward-context.js';
import { scope } from '../tensor/scope.js';

/** The MLP activations of one text. */
export interface ActivationMap {
  tokens: string[];
  layers: {
    name: string;
    /** Neurons: values of one token. */
    width: number;
    /** Share of non-zeros. */
    density: number;
    /** Token after token. */
    values: Float32Array;
  }[];
}

/** Runs a model over one example and copies the activations of each MLP out. */
export function activationMap(model: Model, example: Example, tokens: string[]): ActivationMap {
  const { backend } = model;
  return noGrad(() =>
    scope(backend, () => {
      const context = new ForwardContext();
      const batch = model.head.collate([example], { info: model.info });
      model.outputs(batch, context);
      const layers = context.mlps.map(({ name, out }) => {
        const values = backend.readF32(backend.toDense(out.handle));
        const nonzeros = values.reduce((count, value) => count + (value === 0 ? 0 : 1), 0);
        return { name, width: out.cols, density: nonzeros / values.length, values };
      });
      return { tokens, layers };
    }),
  );
}
