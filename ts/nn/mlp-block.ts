import type { Activated } from '../ops/activate.js';
import { Tensor } from '../tensor/tensor.js';
import type { ForwardContext, MlpObservation } from './forward-context.js';
import type { LayerGate } from './layer-gate.js';
import type { LinearLike } from './linear.js';
import { Module } from './module.js';

/** What a model family's MLP is made of; functions, as PEFT methods put other modules in the place of these. */
export interface MlpParts {
  /** Up-projection and activation. @param x [tokens, d] @param cutoff as in `activate` */
  activated(x: Tensor, context: ForwardContext, cutoff: number): Activated;
  /** What is between activation and down-projection, e.g. a dropout; default nothing. */
  between?(out: Tensor, context: ForwardContext): Tensor;
  /** The down-projection. */
  down(): LinearLike;
}

/** An MLP as its layer runs it: observed, gated where it has a gate, skipped where it is not wanted. */
export class MlpBlock extends Module {
  /** Factor on what it adds. */
  gate?: LayerGate | undefined;
  /** Activations of at most this magnitude become exact zeros without a gradient; 0: none. */
  threshold = 0;

  /**
   * @param name of its layer, e.g. `encoder.layer.0`
   * @param isLoaded whether its weights are there; else it is skipped always
   */
  constructor(
    readonly name: string,
    readonly side: MlpObservation['side'],
    readonly isLoaded: boolean,
    readonly parts: MlpParts,
  ) {
    super();
  }

  /** What is added to the residual stream, before its dropout: zeros where the MLP is skipped. @param x [tokens, d] */
  forward(x: Tensor, context: ForwardContext): Tensor {
    const { name, side, gate, parts } = this;
    const isClosed = gate?.isClosed ?? false;
    if (!this.isLoaded || (isClosed && !context.training)) {
      context.skipped.push({ name, side, after: context.mlps.length });
      return new Tensor(x.backend, x.backend.zeros(x.rows, x.cols), x.shape);
    }
    const observed = parts.activated(x, context, this.threshold);
    const down = parts.down();
    // A closed gate may open again, so that training runs the MLP; its density is that of inference.
    context.mlps.push({ name, side, gate, down, ...(isClosed ? { nonzeros: 0 } : {}), ...observed });
    const projected = down.forward(parts.between?.(observed.out, context) ?? observed.out, context);
    return gate ? gate.forward(projected) : projected;
  }
}

/** The MLPs of a model, in its order. */
export function mlpBlocks(model: Module): MlpBlock[] {
  return model.modules().filter((module): module is MlpBlock => module instanceof MlpBlock);
}
