import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { bitfit } from './bitfit.js';
import { full } from './full.js';
import { head } from './head.js';
import { ia3 } from './ia3.js';
import { lora } from './lora.js';
import type { PeftMethod } from './method.js';

/** Every method, in the order of the documentation. */
const METHODS = [lora, ia3, bitfit, head, full] as unknown as readonly PeftMethod<unknown>[];

/** Names of the methods. */
export const METHOD_NAMES: readonly string[] = METHODS.map(({ name }) => name);

/** The method called `name`. @throws DeftuneError listing the known ones. */
export function peftMethod(name: unknown, where = 'method'): PeftMethod<unknown> {
  const method = METHODS.find((candidate) => candidate.name === name);
  if (method) return method;
  throw new DeftuneError(`${where} is ${showValue(name)}, expected one of ${METHOD_NAMES.join(', ')}`);
}

/** The method whose files have this `peft_type`. @throws DeftuneError listing the known ones. */
export function methodOfPeftType(peftType: unknown, where: string): PeftMethod<unknown> {
  const method = METHODS.find((candidate) => candidate.peftType !== undefined && candidate.peftType === peftType);
  if (method) return method;
  const known = METHODS.flatMap((candidate) => candidate.peftType ?? []).join(', ');
  throw new DeftuneError(`${where}: peft_type is ${showValue(peftType)}, expected one of ${known}`);
}
