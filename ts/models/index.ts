import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { bert } from './bert.js';
import type { ModelFamily } from './model.js';

const FAMILIES: readonly ModelFamily[] = [bert];

/**
 * The family that a config.json names.
 * @throws DeftuneError listing the supported ones.
 */
export function modelFamily(modelType: unknown, name: string): ModelFamily {
  const family = FAMILIES.find((candidate) => candidate.modelType === modelType);
  if (family) return family;
  const known = FAMILIES.map((candidate) => candidate.modelType).join(', ');
  throw new DeftuneError(`${name}: model_type is ${showValue(modelType)}, expected one of ${known}`);
}
