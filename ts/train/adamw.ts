import type { Backend } from '../backend/backend.js';
import type { Parameter } from '../nn/parameter.js';
import { OptimizerSlots } from './optimizer-slots.js';
import type { OptimizedParameter, Optimizer, OptimizerOptions, OptimizerState } from './optimizer.js';

/** AdamW (Loshchilov, Hutter 2019, algorithm 2), as torch.optim.AdamW. */
export class AdamW implements Optimizer {
  private step = 0;
  private readonly moments: OptimizerSlots;

  constructor(
    private readonly backend: Backend,
    private readonly parameters: readonly OptimizedParameter[],
    private readonly options: OptimizerOptions,
  ) {
    this.moments = new OptimizerSlots(backend, parameters, ['m', 'v']);
  }

  update(gradients: ReadonlyMap<Parameter, number>, lr: number, gradScale: number): void {
    this.step += 1;
    const { beta1, beta2, eps } = this.options;
    for (const { name, parameter, weightDecay } of this.parameters) {
      const grad = gradients.get(parameter);
      if (!grad) continue;
      const rate = lr * parameter.rateFactor;
      const [m, v] = [this.moments.get(name, 'm'), this.moments.get(name, 'v')];
      this.backend.adamwStep(parameter.handle, grad, m, v, rate, beta1, beta2, eps, weightDecay, this.step, gradScale);
    }
  }

  state(): OptimizerState {
    return { step: this.step, tensors: this.moments.read() };
  }

  load({ step, tensors }: OptimizerState): void {
    this.moments.write(tensors);
    this.step = step;
  }

  dispose(): void {
    this.moments.dispose();
  }
}
