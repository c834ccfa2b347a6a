import type { z } from 'zod';
import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { validate } from '../../io/validate.js';

/** A part of tokenizer.json, such as its normalizer: `type` says which, the other fields are its settings. */
export type ComponentJson = Readonly<Record<string, unknown>>;

/** Builds one kind of component from its JSON; `where` names it in messages. */
export type ComponentBuilder<T> = (json: ComponentJson, where: string) => T;

/**
 * Builds the component that `json.type` names.
 *
 * @throws DeftuneError naming the file, the component and what is wrong
 */
export function buildComponent<T>(
  builders: Readonly<Record<string, ComponentBuilder<T>>>,
  json: unknown,
  where: string,
): T {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new DeftuneError(`${where} is ${showValue(json)}, expected an object`);
  }
  const fields = json as ComponentJson;
  const type = fields['type'];
  const build = typeof type === 'string' && Object.hasOwn(builders, type) ? builders[type] : undefined;
  if (!build) {
    throw new DeftuneError(`${where}.type is ${showValue(type)}, expected one of ${Object.keys(builders).join(', ')}`);
  }
  return build(fields, where);
}

/** Builds each component of a list. */
export function buildComponents<T>(
  builders: Readonly<Record<string, ComponentBuilder<T>>>,
  json: unknown,
  where: string,
): T[] {
  if (!Array.isArray(json)) throw new DeftuneError(`${where} is ${showValue(json)}, expected a list`);
  return json.map((part, index) => buildComponent(builders, part, `${where}.${index}`));
}

/** Checks a component's fields. @throws DeftuneError naming the first that is wrong. */
export function readFields<T>(schema: z.ZodType<T>, json: unknown, where: string): T {
  return validate(schema, json, where);
}
