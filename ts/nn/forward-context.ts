import { elementLosses, type ElementLoss } from '../ops/element-loss.js';
import type { Tensor } from '../tensor/tensor.js';
import type { LayerGate } from './layer-gate.js';
import type { LinearLike } from './linear.js';

/** What one MLP showed during a forward pass: the hook between its activation and its down-projection. */
export interface MlpObservation {
  /** Module path of the MLP's activation, e.g. `encoder.layer.0`. */
  name: string;
  /** Losses and densities of encoder and decoder are kept apart. */
  side: 'encoder' | 'decoder';
  /** o [tokens, dFf] */
  out: Tensor;
  /** s = mean of o over the tokens [1, dFf] */
  featureMap: Tensor;
  /** The pass's `element` loss, meaned over tokens and neurons [1, 1]; 0 where there is none */
  elementMean: Tensor;
  /** The down-projection, which reads o. */
  down: LinearLike;
  /** Exact non-zeros of o, where they were counted already because o is not kept. */
  nonzeros?: number | undefined;
  /** The factor on what the MLP adds, where it has one. */
  gate?: LayerGate | undefined;
}

/** An MLP that a pass left out. */
export interface SkippedMlp extends Pick<MlpObservation, 'name' | 'side'> {
  /** MLPs of the pass before it that were run. */
  after: number;
}

/** State of one forward pass. */
export class ForwardContext {
  /** Every MLP that the pass ran, in order. */
  readonly mlps: MlpObservation[] = [];
  /** Those that were skipped. */
  readonly skipped: SkippedMlp[] = [];
  /** The element-wise loss that every MLP is asked for. */
  element: ElementLoss = elementLosses.none;
  /** Share of each label that is spread over all classes, 0 to 1; only the task loss reads it. */
  labelSmoothing = 0;
  /**
   * Whether the last layer runs for those tokens alone that the head reads, where it is one of each sequence; causal models then leave out the
   * tokens that follow it. Densities are over what ran.
   */
  pooledTokensOnly = false;
  /** Whether layers make their activations again in the backward pass instead of keeping them. */
  recompute = false;
  private stream: number;

  /**
   * @param training whether dropout is on
   * @param seed of the run
   * @param step number of the (micro-)batch, so that each has dropout masks of its own
   */
  constructor(
    readonly training = false,
    readonly seed = 0,
    step = 0,
  ) {
    this.stream = Math.imul(step, 4096);
  }

  /** Where the random numbers of this pass stand; see {@link ForwardContext.rewind}. */
  mark(): number {
    return this.stream;
  }

  /** Goes back to a {@link ForwardContext.mark}: what follows draws the same numbers again. */
  rewind(mark: number): void {
    this.stream = mark;
  }

  /** Random numbers for the next dropout of this pass; undefined where nothing is to be dropped. */
  dropout(p: number): { p: number; seed: number; stream: number } | undefined {
    if (!this.training || p === 0) return undefined;
    this.stream = (this.stream + 1) >>> 0;
    return { p, seed: this.seed >>> 0, stream: this.stream };
  }
}
