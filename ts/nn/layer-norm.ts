import type { DropoutOptions } from '../ops/dropout.js';
import { addLayerNorm, layerNorm } from '../ops/layer-norm.js';
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';
import type { Normalisation } from './residual-connection.js';
import type { Parameter } from './parameter.js';

/** Layer norm with the parameters' checkpoint names. */
export class LayerNorm extends Module implements Normalisation {
  constructor(
    readonly weight: Parameter,
    readonly bias: Parameter,
    private readonly eps: number,
  ) {
    super();
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }

  forwardSum(x: Tensor, residual: Tensor, drop?: DropoutOptions): Tensor {
    return addLayerNorm(x, residual, this.weight, this.bias, this.eps, drop);
  }
}
