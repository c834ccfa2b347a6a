import type { ForwardContext } from './forward-context.js';
import type { Tensor } from '../tensor/tensor.js';

/** What is told of an evaluation on the way. */
export interface EvaluationPoint {
  step: number;
  /** Mean task loss. */
  loss: number;
  /** Main metric, larger is better. */
  metric: number;
  density: number;
}

/** A term added to the task loss: L = L_task + weight · value. The trainer does not know what it measures. */
export interface AuxiliaryLoss {
  /** Key in the log. */
  name: string;
  /** May change from step to step. */
  readonly weight: number;
  /** What it was made with, for the record of a run; alpha is the weight. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Told before each step (from 1) of how many the run has. */
  beginStep?(step: number, totalSteps: number): void;
  /** Told of each step's task loss and of the density of its batches. */
  onStep?(losses: { taskLoss: number; density: number }): void;
  /** Told of each evaluation. */
  onEvaluate?(evaluation: EvaluationPoint): void;
  /** What evaluations are compared by in place of the metric, larger is better: where a loss is out for more than the metric. */
  score?(evaluation: EvaluationPoint): number;
  /** What a resumed run must know, as plain data. */
  state?(): unknown;
  load?(state: unknown): void;
  /** Called before the forward pass, to ask for statistics. */
  prepare?(context: ForwardContext): void;
  /** The unweighted value [1, 1] of a finished forward pass. */
  compute(context: ForwardContext): Tensor;
}
