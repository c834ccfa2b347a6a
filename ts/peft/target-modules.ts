import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { LinearLike } from '../nn/linear.js';
import type { Model } from '../models/model.js';
import type { Module } from '../nn/module.js';

/** As in peft: a list of names, a regular expression over the whole path, or `all-linear`. */
export type TargetModules = string | readonly string[];

/** Schema of {@link TargetModules}. */
export const moduleNames = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)], {
  error: 'expected names of modules or a regular expression',
});

/** Which modules a method changes; fields as in peft's configs. */
export interface ModuleSelection {
  /** Default: peft's for the model family. */
  targetModules: TargetModules;
  /** Modules to leave out: names, or a regular expression over the whole path. */
  excludeModules?: TargetModules | undefined;
  /** Layers by number, from 0; default all. Only with a list of names. */
  layersToTransform?: number | readonly number[] | undefined;
  /** Name of the list that the layers are in, e.g. `layer`; default: any. Only with layersToTransform. */
  layersPattern?: TargetModules | undefined;
}

/** The fields that have a value: settings that were read equal those that were given. */
export function definedFields<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** @throws DeftuneError where fields contradict one another, or an expression is not one. */
export function checkSelection(selection: ModuleSelection, where: string): void {
  const { targetModules, excludeModules, layersToTransform, layersPattern } = selection;
  if (typeof targetModules === 'string' && layersToTransform !== undefined) {
    throw new DeftuneError(
      `${where}: targetModules is ${JSON.stringify(targetModules)}, expected a list of names with layersToTransform`,
    );
  }
  if (layersPattern !== undefined && layersToTransform === undefined) {
    throw new DeftuneError(
      `${where}: layersPattern is ${JSON.stringify(layersPattern)}, expected layersToTransform too`,
    );
  }
  if (typeof excludeModules === 'string') expression(excludeModules, 'excludeModules');
}

/**
 * Paths of the linear layers that `selection` names. A list entry matches a module whose path equals it or ends with `.entry`; a string
 * is a regular expression that must match the whole path; `all-linear` is every linear layer. Those in modules that are trained whole, as the head's, are left out.
 *
 * @throws DeftuneError where nothing, or a part of the list, matches.
 */
export function findTargets(model: Module, selection: ModuleSelection, wholeModules: readonly string[]): string[] {
  const { targetModules: targets, excludeModules } = selection;
  const isWhole = (path: string): boolean =>
    wholeModules.some((whole) => path === whole || path.startsWith(`${whole}.`));
  const all = [...model.namedModules()].filter(([, module]) => module instanceof LinearLike).map(([path]) => path);
  const linears = all.filter((path) => !isWhole(path));
  const available = [...new Set(linears.map((path) => path.replace(/.*\.\d+\./, '')))].join(', ');
  let found: string[];
  if (targets === 'all-linear') {
    found = linears;
  } else if (typeof targets === 'string') {
    found = linears.filter((path) => matchesModules(path, targets, 'targetModules'));
  } else {
    for (const name of targets) {
      if (!all.some((path) => matchesModules(path, [name], 'targetModules'))) {
        throw new DeftuneError(`targetModules: '${name}' matches no linear layer of the model; it has ${available}`);
      }
    }
    found = linears.filter((path) => matchesModules(path, targets, 'targetModules') && isInLayers(path, selection));
  }
  if (excludeModules !== undefined) {
    found = found.filter((path) => !matchesModules(path, excludeModules, 'excludeModules'));
  }
  if (found.length > 0) return found;
  const narrowed = Object.entries(selection)
    .filter(([field, value]) => value !== undefined && /^(excludeModules|layers)/.test(field))
    .map(([field, value]) => ` with ${field} ${JSON.stringify(value)}`)
    .join('');
  throw new DeftuneError(
    `targetModules: ${JSON.stringify(targets)}${narrowed} matches no linear layer; the model has ${available}`,
  );
}

/** Names for the `targetModules` of just these layers: as short as can be. */
export function targetNames(model: Module, paths: readonly string[]): string[] {
  const all = [...model.namedModules()].flatMap(([path, module]) => (module instanceof LinearLike ? [path] : []));
  const shortened = [/^.*\./, /^.*\.\d+\./].map((rest) => [...new Set(paths.map((path) => path.replace(rest, '')))]);
  const isExact = (names: readonly string[]): boolean =>
    all.filter((path) => matchesModules(path, names, 'targetModules')).length === paths.length;
  return shortened.find(isExact) ?? [...paths];
}

/**
 * The same selection by the names of modules as they are now, where a file has those of transformers 4 (`layer.0.attention.query` of ViT).
 * What a list or an expression finds by either name is found.
 */
export function inPresentNames(model: Model, selection: ModuleSelection): ModuleSelection {
  const { formerPath } = model.info;
  const { targetModules: targets } = selection;
  if (!formerPath || targets === 'all-linear') return selection;
  const paths = [...model.namedModules()].flatMap(([path, module]) => (module instanceof LinearLike ? [path] : []));
  const isNow = (names: TargetModules): boolean => paths.some((path) => matchesModules(path, names, 'targetModules'));
  if (typeof targets === 'string' ? isNow(targets) : targets.every((name) => isNow([name]))) return selection;
  const isFound = (path: string): boolean =>
    matchesModules(path, targets, 'targetModules') &&
    (typeof targets === 'string' || isInLayers(path, selection)) &&
    !(selection.excludeModules !== undefined && matchesModules(path, selection.excludeModules, 'excludeModules'));
  const found = paths.filter((path) => isFound(path) || isFound(formerPath(path)));
  return found.length > 0 ? { targetModules: targetNames(model, found) } : selection;
}

/** The same for values by expressions, as peft's rank_pattern. */
export function patternsInPresentNames(
  model: Model,
  patterns: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const { formerPath } = model.info;
  if (!formerPath || Object.keys(patterns).length === 0) return patterns;
  const paths = [...model.namedModules()].flatMap(([path, module]) => (module instanceof LinearLike ? [path] : []));
  const found = paths.flatMap((path) => {
    const value = valueOfPattern(path, patterns) ?? valueOfPattern(formerPath(path), patterns);
    return value === undefined || valueOfPattern(path, patterns) === value ? [] : [[literal(path), value] as const];
  });
  return { ...Object.fromEntries(found), ...patterns };
}

/** An expression that matches a path and nothing else. */
export function literal(path: string): string {
  return path.replaceAll('.', '\\.');
}

/** Whether a path is among the modules that a list or a regular expression names. */
export function matchesModules(path: string, names: TargetModules, field: string): boolean {
  if (typeof names === 'string') return expression(names, field).test(path);
  return names.some((name) => path === name || path.endsWith(`.${name}`));
}

/** As peft: the first number in a path is its layer's; a module that the list names by its whole path is taken in any case. */
function isInLayers(path: string, selection: ModuleSelection): boolean {
  const { targetModules, layersToTransform: wanted, layersPattern } = selection;
  if (wanted === undefined || targetModules.includes(path)) return true;
  const lists = typeof layersPattern === 'string' ? [layersPattern] : layersPattern;
  const patterns = lists?.map((list) => `^(?:|.*?\\.)(?:${list})\\.(\\d+)\\.`) ?? ['^.*?\\.[^.]*\\.(\\d+)\\.'];
  const index = patterns
    .map((pattern) => compile(pattern, layersPattern, 'layersPattern').exec(path)?.at(-1))
    .find((number) => number !== undefined);
  return index !== undefined && (typeof wanted === 'number' ? [wanted] : wanted).includes(Number(index));
}

/** @throws DeftuneError where a key is not an expression. */
export function checkPatterns(patterns: Readonly<Record<string, number>>, field: string): void {
  for (const source of Object.keys(patterns)) compile(source, source, field);
}

/**
 * The value of the first expression that the end of a path matches.
 *
 * @param patterns as peft's rank_pattern and alpha_pattern, checked by {@link checkPatterns}
 */
export function valueOfPattern(path: string, patterns: Readonly<Record<string, number>>): number | undefined {
  return Object.entries(patterns).find(([source]) => new RegExp(`^(?:.*\\.)?(?:${source})$`).test(path))?.[1];
}

function expression(source: string, field: string): RegExp {
  return compile(`^(?:${source})$`, source, field);
}

function compile(source: string, given: unknown, field: string): RegExp {
  try {
    return new RegExp(source);
  } catch {
    throw new DeftuneError(`${field}: ${JSON.stringify(given)} is not a valid regular expression`);
  }
}
