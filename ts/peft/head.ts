import { z } from 'zod';
import { headParameters } from './head-parameters.js';
import type { PeftMethod } from './method.js';
import { validate } from '../io/validate.js';

/** Trains the head only ("linear probing"); peft has no file for it, so the settings are in deftune.json alone. */
export const head: PeftMethod<Record<string, never>> = {
  name: 'head',
  isMergeable: true,
  configure: (given) => validate(z.strictObject({}), given, 'head') as Record<string, never>,
  inject(model) {
    for (const parameter of headParameters(model).values()) parameter.requiresGrad = true;
  },
  savedParameters: (model) =>
    new Map([...headParameters(model)].map(([name, parameter]) => [`base_model.model.${name}`, parameter])),
  describe: () => 'head only',
};
