import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { validate } from '../io/validate.js';
import type { Model } from '../models/model.js';
import type { Parameter } from '../nn/parameter.js';
import { headParameters } from './head-parameters.js';
import type { PeftMethod } from './method.js';

/** Trains every bias and the head (BitFit, Ben Zaken et al. 2022); peft has no file for it, so the settings are in deftune.json alone. */
export const bitfit: PeftMethod<Record<string, never>> = {
  name: 'bitfit',
  isMergeable: true,
  configure: (given) => validate(z.strictObject({}), given, 'bitfit') as Record<string, never>,
  inject(model) {
    const biases = biasesOf(model);
    if (biases.size === 0)
      throw new DeftuneError(`bitfit: a model of type ${model.info.modelType} has no biases to train`);
    for (const parameter of [...biases.values(), ...headParameters(model).values()]) parameter.requiresGrad = true;
  },
  savedParameters: (model) =>
    new Map(
      [...biasesOf(model), ...headParameters(model)].map(([name, parameter]) => [
        `base_model.model.${name}`,
        parameter,
      ]),
    ),
  describe: () => 'BitFit',
};

/** Biases outside the head, by name. */
function biasesOf(model: Model): Map<string, Parameter> {
  const head = headParameters(model);
  return new Map([...model.namedParameters()].filter(([name]) => name.endsWith('.bias') && !head.has(name)));
}
