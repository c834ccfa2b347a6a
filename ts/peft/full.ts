import { z } from 'zod';
import { gateParameters } from './layer-gates.js';
import type { PeftMethod } from './method.js';
import { validate } from '../io/validate.js';

/** Trains every parameter; what it saves is a plain Hugging Face model. */
export const full: PeftMethod<Record<string, never>> = {
  name: 'full',
  isMergeable: true,
  weightsFile: 'model.safetensors',
  configure: (given) => validate(z.strictObject({}), given, 'full') as Record<string, never>,
  inject(model) {
    for (const [, parameter] of model.namedParameters()) parameter.requiresGrad = true;
  },
  savedParameters(model) {
    const gates = gateParameters(model);
    return new Map([...model.namedParameters()].filter(([, parameter]) => !gates.has(parameter)));
  },
  describe: () => 'full fine-tuning',
};
