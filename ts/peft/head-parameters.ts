import type { Model } from '../models/model.js';
import type { Parameter } from '../nn/parameter.js';

/** Parameters of the model's head by name. */
export function headParameters(model: Model): Map<string, Parameter> {
  const heads = model.info.headModules.map((head) => `${head}.`);
  return new Map([...model.namedParameters()].filter(([name]) => heads.some((head) => name.startsWith(head))));
}
