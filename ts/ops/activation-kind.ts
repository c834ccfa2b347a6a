import { DeftuneError } from '../error.js';

/** Activations of the core by their index there, under the names that `config.json` files use. */
const KINDS: Readonly<Record<string, number>> = {
  relu: 0,
  gelu: 1,
  gelu_new: 2,
  gelu_pytorch_tanh: 2,
  silu: 3,
  swish: 3,
  tanh: 4,
  identity: 5,
  linear: 5,
};

/** The known names. */
export const ACTIVATION_NAMES: readonly string[] = Object.keys(KINDS);

/** Index of a ReLU in the core: the family whose zeros are exact. */
const RELU = 0;

/**
 * Index of the activation called `name`.
 * @throws DeftuneError listing the known names.
 */
export function activationKind(name: string): number {
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (kind === undefined) {
    throw new DeftuneError(`activation '${name}' is not supported, expected one of ${ACTIVATION_NAMES.join(', ')}`);
  }
  return kind;
}

/** Whether the activation gives exact zeros for negative input (its density is a share of positives). */
export function isReluFamily(name: string): boolean {
  return activationKind(name) === RELU;
}
