import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { AdaptersConfig, AdaptersFormat } from './adapters-format.js';
import { bitfit } from './bitfit.js';
import { bottleneck } from './bottleneck.js';
import { full } from './full.js';
import { head } from './head.js';
import { ia3 } from './ia3.js';
import { lora } from './lora.js';
import type { PeftMethod } from './method.js';
import { prefixTuning } from './prefix-tuning.js';
import { promptTuning } from './prompt-tuning.js';

/** Every method, in the order of the documentation. */
const METHODS = [
  lora,
  bottleneck,
  prefixTuning,
  promptTuning,
  ia3,
  bitfit,
  head,
  full,
] as unknown as readonly PeftMethod<unknown>[];

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

/** The method that a config in the format of `adapters` is of. @throws DeftuneError listing the known ones. */
export function methodOfAdaptersConfig(
  config: AdaptersConfig,
  where: string,
): { method: PeftMethod<unknown>; adapters: AdaptersFormat<unknown> } {
  const known = METHODS.flatMap((method) => (method.adapters ? [{ method, adapters: method.adapters }] : []));
  const found = known.find(
    ({ adapters }) => adapters.architecture === (config['architecture'] ?? null) && (adapters.isOf?.(config) ?? true),
  );
  if (found) return found;
  const names = [...new Set(known.map(({ adapters }) => adapters.architecture ?? 'none (bottleneck)'))].join(', ');
  throw new DeftuneError(`${where}: architecture is ${showValue(config['architecture'])}, expected one of ${names}`);
}
