import type { TensorToStore } from '../io/safetensors.js';
import type { EvaluationPoint } from '../nn/auxiliary-loss.js';
import type { OptimizerState } from './optimizer.js';

/** Everything a run needs to go on as if it had never stopped. Random numbers come from seed and step, so that they need no state. */
export interface TrainingState {
  /** Steps done. */
  step: number;
  optimizer: OptimizerState;
  /** Trainable parameters by their name in the model. */
  parameters: Map<string, TensorToStore>;
  progress: ProgressState;
}

/** What the loop itself remembers: plain data. */
export interface ProgressState {
  /** The best evaluation so far: its value, and what the value was made of. */
  best?: (EvaluationPoint & { value: number }) | undefined;
  /** Evaluations so far, in order; undefined before the first. */
  evaluations?: EvaluationPoint[] | undefined;
  /** Evaluations since the best one that were no better. */
  evaluationsWithoutGain: number;
  /** Factor that `reduce_on_plateau` has brought the learning rate to. */
  plateauFactor: number;
  /** Batches left out because their loss was not finite. */
  skippedBatches: number;
  /** State of auxiliary losses that have any, by name. */
  auxiliary: Record<string, unknown>;
}

/** Where checkpoints are kept; how is its own business. */
export interface CheckpointStore {
  /** Keeps a state; `isBest` where its evaluation is the best so far, so that it is not thrown away. */
  save(state: TrainingState, options: { isBest: boolean }): void | Promise<void>;
  /** The newest complete state; undefined where there is none. */
  latest(): TrainingState | undefined | Promise<TrainingState | undefined>;
  /** The state saved at a step. */
  at(step: number): TrainingState | Promise<TrainingState>;
}
