import { activate, linearActivate, type Activated } from '../ops/activate.js';
import { linear } from '../ops/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './forward-context.js';
import { Module } from './module.js';
import type { Parameter } from './parameter.js';

/** A linear layer, or what a PEFT method put in its place. */
export abstract class LinearLike extends Module {
  abstract readonly inFeatures: number;
  abstract readonly outFeatures: number;
  /** [..., in] -> [..., out] */
  abstract forward(x: Tensor, context: ForwardContext): Tensor;

  /** The layer followed by an MLP activation; a plain layer fuses the two. @param cutoff as in `activate` */
  activated(x: Tensor, kind: number, context: ForwardContext, cutoff: number): Activated {
    return activate(this.forward(x, context), kind, { element: context.element, cutoff });
  }
}

/** y = x · weightᵀ + bias; weight [out, in]. */
export class Linear extends LinearLike {
  constructor(
    readonly weight: Parameter,
    readonly bias?: Parameter,
  ) {
    super();
  }

  get inFeatures(): number {
    return this.weight.cols;
  }

  get outFeatures(): number {
    return this.weight.rows;
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  override activated(x: Tensor, kind: number, { element }: ForwardContext, cutoff: number): Activated {
    return linearActivate(x, this.weight, this.bias, kind, { element, cutoff });
  }
}
