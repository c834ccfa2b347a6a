import type { Backend } from '../backend/backend.js';
import type { Parameter } from '../nn/parameter.js';

/** Settings of AdamW (Loshchilov, Hutter 2019), defaults as in PyTorch but for weightDecay 0. */
export interface AdamWOptions {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
}

/** AdamW over a set of parameters; moments live in the backend. */
export class AdamW {
  private step = 0;
  private readonly moments: { parameter: Parameter; m: number; v: number }[];

  constructor(
    private readonly backend: Backend,
    parameters: Iterable<Parameter>,
    private readonly options: AdamWOptions,
  ) {
    const zeros = (parameter: Parameter): number => backend.keep(backend.zeros(parameter.rows, parameter.cols), 0);
    this.moments = Array.from(parameters, (parameter) => ({ parameter, m: zeros(parameter), v: zeros(parameter) }));
  }

  /** One update; gradients are multiplied by `gradScale` (clipping) on the way. Parameters without a gradient stay. */
  update(gradients: ReadonlyMap<Parameter, number>, lr: number, gradScale: number): void {
    this.step += 1;
    const { beta1, beta2, eps, weightDecay } = this.options;
    for (const { parameter, m, v } of this.moments) {
      const grad = gradients.get(parameter);
      if (!grad) continue;
      this.backend.adamwStep(parameter.handle, grad, m, v, lr, beta1, beta2, eps, weightDecay, this.step, gradScale);
    }
  }

  dispose(): void {
    for (const { m, v } of this.moments) {
      this.backend.free(m);
      this.backend.free(v);
    }
  }
}
