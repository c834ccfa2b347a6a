import { densityValue } from '../../ops/density-value.js';
import { elementLosses } from '../../ops/element-loss.js';
import type { DensityForm } from './density-form.js';

/** s² / (s² + eps) of the feature map (eq. 5 of the paper), or o² / (o² + eps) of every element (the authors' code). */
export const l0: DensityForm = {
  name: 'l0',
  forms: ['feature-map', 'element'],
  featureMaps: (maps, { eps }, factor) => densityValue(maps, 'l0', eps, factor),
  element: ({ eps }) => elementLosses.l0(eps),
  describe: ({ eps }) => `eps ${eps}`,
};
