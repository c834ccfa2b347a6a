import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { LanguageModel } from '../models/language-model.js';
import type { Model } from '../models/model.js';
import type { Parameter } from '../nn/parameter.js';
import { headParameters } from './head-parameters.js';
import { stacksOf } from './virtual-places.js';

/** Schema of `modulesToSave`. */
export const wholeModules = z.array(z.string().min(1), { error: 'expected names of modules' });

/** Names that peft lists for every model that labels sequences, whether it has such modules or not. */
const ALWAYS = ['classifier', 'score'];

/** Paths of the modules that are trained whole beside a method and saved with it: the head's, and as in peft those that end in a name. */
export function wholePaths(model: Model, names: readonly string[]): string[] {
  const { headModules } = model.info;
  const paths = [...model.namedModules()].map(([path]) => path);
  const own = paths.filter((path) => path !== '' && names.some((name) => path.endsWith(name)));
  return [...new Set([...headModules, ...own])];
}

/** Parameters of those modules by name. */
export function wholeParameters(model: Model, names: readonly string[]): Map<string, Parameter> {
  if (names.length === 0) return headParameters(model);
  const paths = wholePaths(model, names).map((path) => `${path}.`);
  return new Map([...model.namedParameters()].filter(([name]) => paths.some((path) => name.startsWith(path))));
}

/** @throws DeftuneError where a name is no module's, or that of embeddings which peft would have twice */
export function checkWholeModules(model: Model, names: readonly string[], where: string): void {
  const paths = [...model.namedModules()].map(([path]) => path);
  const stranger = names.find((name) => !paths.some((path) => path !== '' && path.endsWith(name)));
  if (stranger !== undefined) {
    const available = [...new Set(paths.map((path) => path.replace(/^.*\.\d+(\.|$)/, '')))].filter(
      (path) => path !== '',
    );
    throw new DeftuneError(
      `${where}: modulesToSave: '${stranger}' matches no module of the model; it has ${available.join(', ')}`,
    );
  }
  if (!(model instanceof LanguageModel)) return;
  const tied = stacksOf(model).length > 1 ? stacksOf(model)[0]?.words?.() : model.vocabulary.weight;
  const heads = headParameters(model);
  const twice = [...wholeParameters(model, names)].find(([name, parameter]) => parameter === tied && !heads.has(name));
  if (twice) {
    throw new DeftuneError(
      `${where}: modulesToSave has ${twice[0]}, expected none that the model reads in several places: peft would train only one of them`,
    );
  }
}

/** `modules_to_save` of a file, the head's and those that peft lists for every model left out. */
export function wholeModulesFromFile(
  model: Model,
  stored: readonly string[] | null | undefined,
  where: string,
): string[] {
  const own = (stored ?? []).filter((name) => !model.info.headModules.includes(name) && !ALWAYS.includes(name));
  checkWholeModules(model, own, where);
  return own;
}

/** `modules_to_save` as peft writes it. */
export function wholeModulesToFile(model: Model, names: readonly string[]): string[] | null {
  const all = [...model.info.headModules, ...names];
  return all.length > 0 ? all : null;
}
