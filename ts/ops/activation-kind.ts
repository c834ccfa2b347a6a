import { DeftuneError } from '../error.js';

/** Activations of the core by their index there, under the names of transformers (`ACT2FN`) and of AdapterHub. */
const KINDS: Readonly<Record<string, number>> = {
  relu: 0,
  gelu: 1,
  gelu_python: 1,
  gelu_new: 2,
  gelu_pytorch_tanh: 2,
  gelu_python_tanh: 2,
  gelu_fast: 2,
  gelu_accurate: 2,
  silu: 3,
  swish: 3,
  tanh: 4,
  identity: 5,
  linear: 5,
  quick_gelu: 6,
  sigmoid: 7,
  leaky_relu: 8,
  leakyrelu: 8,
  relu2: 9,
  relu6: 10,
  mish: 11,
};

/** The known names. */
export const ACTIVATION_NAMES: readonly string[] = Object.keys(KINDS);

/** Those that give exact zeros for negative input. */
const RELU_FAMILY: readonly string[] = ['relu', 'relu2', 'relu6'];

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

/**
 * Whether the activation gives exact zeros for negative input (its density is a share of positives).
 * @throws DeftuneError for a name that {@link activationKind} does not know.
 */
export function isReluFamily(name: string): boolean {
  activationKind(name);
  return RELU_FAMILY.includes(name);
}
