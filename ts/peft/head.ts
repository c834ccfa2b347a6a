import { z } from 'zod';
import type { Model } from '../models/model.js';
import type { Parameter } from '../nn/parameter.js';
import type { PeftMethod } from './method.js';
import { validate } from '../io/validate.js';

/** Parameters of the model's head by name. */
export function headParameters(model: Model): Map<string, Parameter> {
  const heads = model.info.headModules.map((head) => `${head}.`);
  return new Map([...model.namedParameters()].filter(([name]) => heads.some((head) => name.startsWith(head))));
}

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
