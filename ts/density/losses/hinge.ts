import { DeftuneError } from '../../error.js';
import { activationKind } from '../../ops/activation-kind.js';
import { elementLosses } from '../../ops/element-loss.js';
import type { DensityForm } from './density-form.js';

/**
 * clamp((z + margin) / (margin + top), 0, 1) of what is before the activation: pushes it below -margin, where GELU is an exact zero in f32
 * (from about -5.5 on). Losses on GELU's output cannot, as its derivative vanishes there. Above top a neuron counts as active and is left
 * to the task.
 */
export const hinge: DensityForm = {
  name: 'hinge',
  forms: ['element'],
  element: ({ margin, top }) => elementLosses.hinge(margin, top),
  describe: ({ margin, top }) => `margin ${margin}, top ${top}`,
  check({ activation, margin, top }) {
    if (activationKind(activation) === activationKind('relu')) {
      throw new DeftuneError(
        "density: loss is 'hinge', expected another for relu, whose zeros begin at 0 (l1 is its hinge)",
      );
    }
    if (margin + top > 0) return;
    throw new DeftuneError(`density: top is ${top}, expected more than -margin, which is ${-margin}`);
  },
};
