import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { bert } from './bert.js';
import { gpt2 } from './gpt2.js';
import type { FamilyHead, ModelFamily } from './model.js';
import { camembert, roberta, xlmRoberta } from './roberta.js';
import { t5 } from './t5.js';
import { vit } from './vit.js';

const FAMILIES: readonly ModelFamily[] = [bert, roberta, xlmRoberta, camembert, gpt2, t5, vit];

/** Names of the tensors whose rows are a head's labels, in any family. */
export const LABEL_TENSORS: ReadonlySet<string> = new Set(
  FAMILIES.flatMap(({ heads }) => heads.flatMap(({ labelTensor }) => labelTensor ?? [])),
);

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

/**
 * The head to open: the one asked for, else the one that the config's `architectures` names, else the family's first.
 * @throws DeftuneError where the family does not have it.
 */
export function familyHead(
  { modelType, heads }: ModelFamily,
  wanted: string | undefined,
  architectures: unknown,
  name: string,
): FamilyHead {
  const stated: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  const found =
    wanted === undefined
      ? (heads.find((entry) => entry.architectures.some((architecture) => architecture === stated)) ?? heads[0])
      : heads.find(({ head }) => head.name === wanted);
  if (found) return found;
  const known = heads.map(({ head }) => head.name).join(', ');
  throw new DeftuneError(`${name}: head is ${showValue(wanted)}, expected one that ${modelType} has: ${known}`);
}
