import { rmsNorm } from '../ops/rms-norm.js';
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';
import type { Parameter } from './parameter.js';

/** RMS norm with the parameter's checkpoint name. */
export class RmsNorm extends Module {
  constructor(
    readonly weight: Parameter,
    private readonly eps: number,
  ) {
    super();
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps);
  }
}
