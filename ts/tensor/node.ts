import type { Tensor } from './tensor.js';

/** Gradients by output (in) or input (out); 0 where there is none. */
export type GradientHandles = readonly number[];

/** One recorded operation. */
export interface Node {
  readonly name: string;
  /** Grows with each operation: backward runs in falling order. */
  readonly order: number;
  readonly inputs: readonly (Tensor | undefined)[];
  readonly backward: (grads: GradientHandles) => GradientHandles;
  readonly outputs: number;
  /** In place of `backward`: runs the operations that stand for this one, recorded, and returns their results. */
  readonly expand?: (() => readonly Tensor[]) | undefined;
  /** Its outputs and what else only its backward pass reads: of no use to the pass once that has run. */
  readonly saved: readonly number[];
}
