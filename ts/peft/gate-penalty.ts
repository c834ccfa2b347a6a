import type { AuxiliaryLoss } from '../nn/auxiliary-loss.js';
import { mlpBlocks } from '../nn/mlp-block.js';
import { add, scale } from '../ops/elementwise.js';
import type { PeftModel } from './peft-model.js';

/**
 * What closes the gates on a model's MLPs: the mean of max(theta, 0) over them, weighed by the setting `penalty` of `layerGates`.
 *
 * @returns one loss for a trainer, or none where the model has no gates
 */
export function gatePenalty({ base, layerGates }: PeftModel): AuxiliaryLoss[] {
  if (!layerGates) return [];
  const compute = (): ReturnType<AuxiliaryLoss['compute']> => {
    const gates = mlpBlocks(base).flatMap(({ gate }) => (gate ? [gate.positive()] : []));
    return scale(gates.reduce(add), 1 / gates.length);
  };
  return [{ name: 'gatePenalty', weight: layerGates.penalty, compute }];
}
