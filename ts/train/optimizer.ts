import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { Parameter } from '../nn/parameter.js';
import { AdamW } from './adamw.js';
import { Sgd } from './sgd.js';

/** Settings of the optimizers. */
export interface OptimizerOptions {
  /** AdamW's decay of the first moment, 0 to less than 1; default 0.9. */
  beta1: number;
  /** AdamW's decay of the second moment, 0 to less than 1; default 0.999. */
  beta2: number;
  /** AdamW's eps; default 1e-8. */
  eps: number;
  /** Decoupled weight decay (AdamW) or L2 penalty (SGD); default 0. */
  weightDecay: number;
  /** SGD's momentum, 0 to less than 1; default 0. */
  momentum: number;
}

/** A trainable parameter with its name and its own weight decay. */
export interface OptimizedParameter {
  name: string;
  parameter: Parameter;
  weightDecay: number;
}

/** Updates parameters by their gradients; its state lives in the backend. */
export interface Optimizer {
  /** One update; gradients are multiplied by `gradScale` (clipping) on the way. Parameters without a gradient stay. */
  update(gradients: ReadonlyMap<Parameter, number>, lr: number, gradScale: number): void;
  /** Updates so far, and what is kept of them, by name. */
  state(): OptimizerState;
  /** @throws DeftuneError where the state is not of these parameters */
  load(state: OptimizerState): void;
  dispose(): void;
}

export interface OptimizerState {
  step: number;
  tensors: Map<string, Float32Array>;
}

type OptimizerClass = new (
  backend: Backend,
  parameters: readonly OptimizedParameter[],
  options: OptimizerOptions,
) => Optimizer;

const OPTIMIZERS: Readonly<Record<string, OptimizerClass>> = { adamw: AdamW, sgd: Sgd };

/** The optimizer called `name`. @throws DeftuneError listing the known ones. */
export function optimizerNamed(name: string): OptimizerClass {
  const found = Object.hasOwn(OPTIMIZERS, name) ? OPTIMIZERS[name] : undefined;
  if (found) return found;
  throw new DeftuneError(`optimizer is ${showValue(name)}, expected one of ${Object.keys(OPTIMIZERS).join(', ')}`);
}
