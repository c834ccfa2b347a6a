import type { Backend } from '../backend/backend.js';
import type { Parameter } from '../nn/parameter.js';
import { OptimizerSlots } from './optimizer-slots.js';
import type { OptimizedParameter, Optimizer, OptimizerOptions, OptimizerState } from './optimizer.js';

/**
 * Stochastic gradient descent with momentum, as torch.optim.SGD without dampening: g += weightDecay · p; b = momentum · b + g;
 * p -= lr · b.
 */
export class Sgd implements Optimizer {
  private step = 0;
  private readonly buffers: OptimizerSlots;

  constructor(
    private readonly backend: Backend,
    private readonly parameters: readonly OptimizedParameter[],
    private readonly options: OptimizerOptions,
  ) {
    this.buffers = new OptimizerSlots(backend, options.momentum > 0 ? parameters : [], ['momentum']);
  }

  update(gradients: ReadonlyMap<Parameter, number>, lr: number, gradScale: number): void {
    this.step += 1;
    const { backend } = this;
    const { momentum } = this.options;
    for (const { name, parameter, weightDecay } of this.parameters) {
      const grad = gradients.get(parameter);
      if (!grad) continue;
      const direction = backend.scale(grad, gradScale);
      if (weightDecay > 0) backend.addInPlace(direction, parameter.handle, weightDecay);
      if (momentum > 0) {
        const buffer = this.buffers.get(name, 'momentum');
        backend.addInPlace(direction, buffer, momentum);
        backend.writeF32(buffer, backend.readF32(direction));
      }
      backend.addInPlace(parameter.handle, direction, -lr * parameter.rateFactor);
      backend.free(direction);
    }
  }

  state(): OptimizerState {
    return { step: this.step, tensors: this.buffers.read() };
  }

  load({ step, tensors }: OptimizerState): void {
    this.buffers.write(tensors);
    this.step = step;
  }

  dispose(): void {
    this.buffers.dispose();
  }
}
