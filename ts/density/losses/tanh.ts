import { densityValue } from '../../ops/density-value.js';
import type { DensityForm } from './density-form.js';

/** tanh(beta · s) of the feature map (eq. 4 of the paper), for ReLU. */
export const tanh: DensityForm = {
  name: 'tanh',
  forms: ['feature-map'],
  featureMaps: (maps, { beta }, factor) => densityValue(maps, 'tanh', beta, factor),
  describe: ({ beta }) => `beta ${beta}`,
};
