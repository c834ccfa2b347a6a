import { z } from 'zod';
import type { PeftMethod } from './method.js';
import { validate } from '../io/validate.js';

/** Trains every parameter. */
export const full: PeftMethod<Record<string, never>> = {
  name: 'full',
  configure: (given) => validate(z.strictObject({}), given, 'full') as Record<string, never>,
  inject(model) {
    for (const [, parameter] of model.namedParameters()) parameter.requiresGrad = true;
  },
  savedParameters: (model) =>
    new Map([...model.namedParameters()].map(([name, parameter]) => [`base_model.model.${name}`, parameter])),
  describe: () => 'full fine-tuning',
};
