import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import type { DensityForm } from './density-form.js';
import { hinge } from './hinge.js';
import { hoyer } from './hoyer.js';
import { l0 } from './l0.js';
import { l1 } from './l1.js';
import { tanh } from './tanh.js';

/** Every density loss, in the order of the documentation. */
const LOSSES: readonly DensityForm[] = [tanh, l0, hinge, hoyer, l1];

/** Names of the losses. */
export const DENSITY_LOSSES: readonly string[] = LOSSES.map(({ name }) => name);

/** The loss called `name`. @throws DeftuneError listing the known ones. */
export function densityForm(name: string): DensityForm {
  const loss = LOSSES.find((candidate) => candidate.name === name);
  if (loss) return loss;
  throw new DeftuneError(`density: loss is ${showValue(name)}, expected one of ${DENSITY_LOSSES.join(', ')}`);
}
