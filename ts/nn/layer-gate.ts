import { activationKind } from '../ops/activation-kind.js';
import { scaleCols } from '../ops/columns.js';
import { activation, add, scale } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';
import type { Parameter } from './parameter.js';

const RELU = activationKind('relu');

/**
 * A learned factor on what an MLP adds to its layer: g = min(max(theta, 0), 1). An open gate (1) changes no bit; a closed one makes the MLP
 * needless. Closing layers that are worth little, by what they learned, is the idea of ADA-DEFT (Runwal, Pedapati, Chen); a factor under an L1
 * penalty that reaches its zero is that of network slimming (Liu et al. 2017). There is no noise, as in the hard-concrete gates of Louizos et
 * al. 2018: short runs have no time to average it out.
 */
export class LayerGate extends Module {
  /**
   * @param theta [1, 1]
   * @param skipThreshold the gate counts as closed up to this, 0 to 1
   */
  constructor(
    readonly theta: Parameter,
    readonly skipThreshold: number,
  ) {
    super();
  }

  /** g, 0 to 1. */
  get openness(): number {
    return Math.min(1, Math.max(0, this.theta.item()));
  }

  /** Whether the MLP is skipped at inference. */
  get isClosed(): boolean {
    return this.openness <= this.skipThreshold;
  }

  /** g [1, 1], through which gradients flow where 0 < theta <= 1. */
  factor(): Tensor {
    const minusOne = Tensor.fromFloats(this.theta.backend, [-1], [1, 1]);
    const beyond = activation(add(this.theta, minusOne), RELU);
    return add(this.positive(), scale(beyond, -1));
  }

  /** max(theta, 0) [1, 1]: what a penalty pushes down, also from above 1. */
  positive(): Tensor {
    return activation(this.theta, RELU);
  }

  /** g · x. @param x [tokens, d] */
  forward(x: Tensor): Tensor {
    const ones = Tensor.fromFloats(x.backend, new Float32Array(x.cols).fill(1), [x.cols, 1]);
    return scaleCols(x, linear(this.factor(), ones));
  }
}
