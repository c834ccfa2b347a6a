import { DeftuneError } from '../error.js';
import { LinearLike } from '../nn/linear.js';
import type { Module } from '../nn/module.js';

/** As in peft: a list of names, a regular expression over the whole path, or `all-linear`. */
export type TargetModules = string | readonly string[];

/**
 * Paths of the linear layers that `targets` names. A list entry matches a module whose path equals it or ends with `.entry`; a string
 * is a regular expression that must match the whole path; `all-linear` is every linear layer but the head's.
 *
 * @throws DeftuneError where nothing, or a part of the list, matches.
 */
export function findTargets(model: Module, targets: TargetModules, headModules: readonly string[]): string[] {
  const isHead = (path: string): boolean => headModules.some((head) => path === head || path.startsWith(`${head}.`));
  const linears = [...model.namedModules()]
    .filter(([, module]) => module instanceof LinearLike)
    .map(([path]) => path)
    .filter((path) => !isHead(path));
  const available = [...new Set(linears.map((path) => path.replace(/.*\.\d+\./, '')))].join(', ');
  let found: string[];
  if (targets === 'all-linear') {
    found = linears;
  } else if (typeof targets === 'string') {
    const pattern = expression(targets);
    found = linears.filter((path) => pattern.test(path));
  } else {
    const matches = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`);
    for (const name of targets) {
      if (!linears.some((path) => matches(path, name))) {
        throw new DeftuneError(`targetModules: '${name}' matches no linear layer of the model; it has ${available}`);
      }
    }
    found = linears.filter((path) => targets.some((name) => matches(path, name)));
  }
  if (found.length === 0) {
    throw new DeftuneError(
      `targetModules: ${JSON.stringify(targets)} matches no linear layer; the model has ${available}`,
    );
  }
  return found;
}

function expression(source: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`);
  } catch {
    throw new DeftuneError(`targetModules: ${JSON.stringify(source)} is not a valid regular expression`);
  }
}
