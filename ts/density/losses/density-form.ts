import type { ElementLoss } from '../../ops/element-loss.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Settings of the losses, defaults filled in. */
export interface LossSettings {
  form: 'feature-map' | 'element';
  beta: number;
  eps: number;
  margin: number;
  top: number;
  /** The model's MLP activation. */
  activation: string;
}

/** A density loss: one file, one line in `losses/index.ts`. */
export interface DensityForm {
  name: string;
  /** Forms it has, the default first. */
  forms: readonly [LossSettings['form'], ...LossSettings['form'][]];
  /** What every element of an MLP is measured by, where the form is element. */
  element?(settings: LossSettings): ElementLoss;
  /** factor · Σ over maps [1, dFf] and neurons, where the form is feature-map. */
  featureMaps?(maps: readonly Tensor[], settings: LossSettings, factor: number): Tensor;
  /** Its parameters for people: `beta 20`; empty where it has none. */
  describe(settings: LossSettings): string;
  /** @throws DeftuneError where the loss means nothing for this activation */
  check?(settings: LossSettings): void;
}
