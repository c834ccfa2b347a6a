import type { Parameter } from '../nn/parameter.js';
import type { OptimizedParameter } from './optimizer.js';

/**
 * Parameters with their weight decay.
 *
 * @param noDecay ends of names that are not decayed; transformers' Trainer leaves out `bias` and the weights of norms
 */
export function parameterGroups(
  parameters: ReadonlyMap<string, Parameter>,
  weightDecay: number,
  noDecay: readonly string[],
): OptimizedParameter[] {
  return [...parameters].map(([name, parameter]) => {
    const isExempt = !parameter.isDecayed || noDecay.some((end) => name === end || name.endsWith(`.${end}`));
    return { name, parameter, weightDecay: isExempt ? 0 : weightDecay };
  });
}
