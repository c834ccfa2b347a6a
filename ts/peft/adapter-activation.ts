import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { Model } from '../models/model.js';
import { activationThresholds, type ActivationThresholds } from '../nn/activation-thresholds.js';
import { activationKind } from '../ops/activation-kind.js';

/** What deftune.json says of the activations that an adapter was trained with. */
export interface StoredActivation {
  /** Activation that the base's MLPs were given in place of their own. */
  activation?: string;
  /** Thresholds of the base's activations. */
  activationThresholds?: ActivationThresholds;
}

/** Where a base's activations are not those of its checkpoint: how they differ. */
export function storedActivation(base: Model): StoredActivation {
  const { swappedActivation } = base;
  const thresholds = activationThresholds(base);
  return {
    ...(swappedActivation === undefined ? {} : { activation: swappedActivation }),
    ...(Object.keys(thresholds).length === 0 ? {} : { activationThresholds: thresholds }),
  };
}

/**
 * An adapter that was trained with another activation would give answers, but not its own.
 *
 * @param where path of the file that says so
 * @throws DeftuneError where the base has another one
 */
export function checkActivation({ info }: Model, { activation }: StoredActivation, where: string): void {
  if (activation === undefined || activationKind(activation) === activationKind(info.activation)) return;
  throw new DeftuneError(
    `${where}: activation is ${activation}, but the model has ${info.activation}; expected the model opened with activation '${activation}'`,
  );
}

/** Thresholds belong to the model, whichever of its adapters is active. @throws DeftuneError where an adapter has others */
export function checkThresholds(
  base: Model,
  { activationThresholds: given = {} }: StoredActivation,
  where: string,
): void {
  const own = activationThresholds(base);
  const names = new Set([...Object.keys(given), ...Object.keys(own)]);
  const different = [...names].find((name) => (given[name] ?? 0) !== (own[name] ?? 0));
  if (different === undefined) return;
  throw new DeftuneError(
    `${where}: the activation threshold of ${different} is ${showValue(given[different] ?? 0)}, expected ${own[different] ?? 0} as of the model's other adapters`,
  );
}
