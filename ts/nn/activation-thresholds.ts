import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { mlpBlocks } from './mlp-block.js';
import type { Module } from './module.js';

/** Threshold of each MLP's activation by the MLP's name, e.g. `encoder.layer.0`. */
export type ActivationThresholds = Readonly<Record<string, number>>;

/** Largest threshold that the core takes: f32's largest number is what nothing exceeds. */
const LARGEST = 3.4e38;

/**
 * From here on outputs of an MLP's activation that are at most its threshold in magnitude become exact zeros, in inference and, without a
 * gradient, in training: ReLU becomes FATReLU (Kurtz et al. 2020), GELU is cut by magnitude (CATS, Lee et al. 2024; TEAL, Liu et al. 2024).
 *
 * @param thresholds from 0 (none); a number is that of every MLP, those not named have none
 * @throws DeftuneError naming an MLP that the model does not have, or a threshold below 0; the model stays as it was
 */
export function setActivationThresholds(model: Module, thresholds: ActivationThresholds | number): void {
  const blocks = mlpBlocks(model);
  const names = blocks.map(({ name }) => name);
  const wanted: ActivationThresholds =
    typeof thresholds === 'number' ? Object.fromEntries(names.map((name) => [name, thresholds])) : thresholds;
  for (const [name, threshold] of Object.entries(wanted)) {
    if (!names.includes(name)) {
      throw new DeftuneError(
        `activation thresholds: ${showValue(name)} is no MLP, expected one of ${names.join(', ')}`,
      );
    }
    if (typeof threshold === 'number' && threshold >= 0 && threshold <= LARGEST) continue;
    throw new DeftuneError(`activation thresholds: ${name} is ${showValue(threshold)}, expected a number from 0`);
  }
  for (const block of blocks) block.threshold = wanted[block.name] ?? 0;
}

/** Thresholds of the MLPs that have one. */
export function activationThresholds(model: Module): ActivationThresholds {
  const cut = mlpBlocks(model).filter(({ threshold }) => threshold > 0);
  return Object.fromEntries(cut.map(({ name, threshold }) => [name, threshold]));
}
