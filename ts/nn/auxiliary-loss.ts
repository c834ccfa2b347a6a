import type { ForwardContext } from './forward-context.js';
import type { Tensor } from '../tensor/tensor.js';

/** A term added to the task loss: L = L_task + weight · value. The trainer does not know what it measures. */
export interface AuxiliaryLoss {
  /** Key in the log. */
  name: string;
  weight: number;
  /** Called before the forward pass, to ask for statistics. */
  prepare?(context: ForwardContext): void;
  /** The unweighted value [1, 1] of a finished forward pass. */
  compute(context: ForwardContext): Tensor;
}
