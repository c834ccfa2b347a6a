import { elementLosses } from '../../ops/element-loss.js';
import type { DensityForm } from './density-form.js';

/** (Σ|o|)² / (n Σo²) of each token, which no scale of the activations changes (Kurtz et al. 2020). */
export const hoyer: DensityForm = {
  name: 'hoyer',
  forms: ['element'],
  element: () => elementLosses.hoyer,
  describe: () => '',
};
