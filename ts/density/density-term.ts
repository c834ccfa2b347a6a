import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import { densityController, type DensityBudget } from './density-controller.js';
import { densityLoss, type DensityLossOptions } from './density-loss.js';

/**
 * The density loss of a run that is described by plain data, its alpha found within a budget where there is one.
 *
 * @throws DeftuneError as {@link densityLoss} and {@link densityController} do
 */
export function densityTerm(
  options: DensityLossOptions,
  budget: DensityBudget | undefined,
  activation: string,
): AuxiliaryLoss & { description: string } {
  const loss = densityLoss(options, activation);
  return budget ? densityController(loss, budget) : loss;
}
