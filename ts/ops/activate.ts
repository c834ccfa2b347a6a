import { record } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';
import { elementLosses, type ElementLoss } from './element-loss.js';

/** MLP activations with the statistics that the density losses need. */
export interface Activated {
  /** o [tokens, dFf], kept in dense or compact blocks by their density. */
  out: Tensor;
  /** s = mean of o over the tokens [1, dFf] (eq. 3 of the paper). */
  featureMap: Tensor;
  /** The element-wise loss that was asked for, meaned over tokens and neurons [1, 1]; else 0. */
  elementMean: Tensor;
}

/** What an activation is asked for beside its output. */
export interface ActivateOptions {
  /** Default: none. */
  element?: ElementLoss | undefined;
  /** Outputs of at most this magnitude become exact zeros without a gradient, from 0; default 0: none. */
  cutoff?: number | undefined;
}

function settings({ element = elementLosses.none, cutoff = 0 }: ActivateOptions): [number, number, number, number] {
  return [element.index, element.p, element.q, cutoff];
}

/** o = f(pre) with its statistics. `kind` as in `activationKind`. */
export function activate(pre: Tensor, kind: number, options: ActivateOptions = {}): Activated {
  const given = settings(options);
  const { backend } = pre;
  const [out = 0, map = 0, mean = 0, kept = 0] = Array.from(backend.activate(pre.handle, kind, ...given));
  const backward = (grad: number, mapGrad: number, elementGrad: number): number[] => [
    backend.activateBackward(grad, out, kept, mapGrad, elementGrad, kind, ...given),
  ];
  return activated('activate', [pre], [out, map, mean], [pre.rows, pre.cols], backward);
}

/** The same fused with the up-projection x · Wᵀ + b: the pre-activation is never written for ReLU. */
export function linearActivate(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  kind: number,
  options: ActivateOptions = {},
): Activated {
  const given = settings(options);
  const { backend } = x;
  const results = backend.linearActivate(x.handle, weight.handle, bias?.handle ?? 0, kind, ...given);
  const [out = 0, map = 0, mean = 0, kept = 0] = Array.from(results);
  const backward = (grad: number, mapGrad: number, elementGrad: number): number[] => {
    const dPre = backend.activateBackward(grad, out, kept, mapGrad, elementGrad, kind, ...given);
    const grads = [
      x.requiresGrad ? backend.linearBackwardInput(dPre, weight.handle, 0) : 0,
      weight.requiresGrad ? backend.linearBackwardWeight(dPre, x.handle, 1) : 0,
      bias?.requiresGrad ? backend.sumRows(dPre) : 0,
    ];
    backend.free(dPre);
    return grads;
  };
  return activated('linearActivate', [x, weight, bias], [out, map, mean], [x.rows, weight.rows], backward, [kept]);
}

/**
 * o = f(pre) · up with its statistics: the activations of a gated MLP (Shazeer 2020; T5 v1.1), where pre and up are both projections of
 * the layer's input. Density is measured on the product, which is what the down-projection reads.
 *
 * @param pre [tokens, dFf]
 * @param up [tokens, dFf]
 */
export function gatedActivate(pre: Tensor, up: Tensor, kind: number, options: ActivateOptions = {}): Activated {
  const given = settings(options);
  const { backend } = pre;
  const [out = 0, map = 0, mean = 0] = Array.from(backend.gatedActivate(pre.handle, up.handle, kind, ...given));
  const inputs = [pre, up];
  return activated('gatedActivate', inputs, [out, map, mean], [pre.rows, pre.cols], (grad, mapGrad, elementGrad) =>
    Array.from(backend.gatedActivateBackward(grad, out, pre.handle, up.handle, mapGrad, elementGrad, kind, ...given)),
  );
}

function activated(
  name: string,
  inputs: readonly (Tensor | undefined)[],
  [out, map, mean]: readonly [number, number, number],
  [rows, cols]: readonly [number, number],
  backward: (grad: number, mapGrad: number, elementGrad: number) => number[],
  saved: readonly number[] = [],
): Activated {
  const { backend } = inputs[0] as Tensor;
  const outputs = [
    [out, [rows, cols]],
    [map, [1, cols]],
    [mean, [1, 1]],
  ] as const;
  const tensors = record(
    name,
    backend,
    inputs,
    outputs,
    ([grad = 0, mapGrad = 0, meanGrad = 0]) =>
      backward(grad, mapGrad, meanGrad ? (backend.readF32(meanGrad)[0] ?? 0) : 0),
    saved,
  );
  return { out: tensors[0] as Tensor, featureMap: tensors[1] as Tensor, elementMean: tensors[2] as Tensor };
}
