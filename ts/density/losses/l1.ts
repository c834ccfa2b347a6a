import { elementLosses } from '../../ops/element-loss.js';
import type { DensityForm } from './density-form.js';

/** Mean |o|: the usual penalty on activations (Georgiadis 2019). */
export const l1: DensityForm = {
  name: 'l1',
  forms: ['element'],
  element: () => elementLosses.l1,
  describe: () => '',
};
