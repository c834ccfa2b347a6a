import type { Command, Option } from 'commander';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { readJson, readText } from '../io/files-node.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import { integer, integers, list, number, numbers, targets } from './options.js';

/**
 * The arguments with those of a `--config` file before them, so that what the command line says wins.
 *
 * @param argv node, script, command, arguments
 * @throws DeftuneError naming the file, the field and its value
 */
export function withConfigFile(program: Command, argv: readonly string[]): string[] {
  const [node = '', script = '', name = '', ...rest] = argv;
  const command = program.commands.find((known) => known.name() === name);
  const isConfigurable = command?.options.some(({ long }) => long === '--config');
  const path = isConfigurable ? givenFile(rest) : undefined;
  if (!command || path === undefined) return [...argv];
  return [node, script, name, ...fileArguments(command, path), ...rest];
}

function givenFile(args: readonly string[]): string | undefined {
  const found = args.flatMap((arg, index) => {
    if (arg.startsWith('--config=')) return [arg.slice('--config='.length)];
    return arg === '--config' && index + 1 < args.length ? [args[index + 1] as string] : [];
  });
  if (found.length > 1) throw new DeftuneError(`--config is given ${found.length} times, expected one file`);
  return found[0];
}

/** The settings of a file as arguments of a command. */
function fileArguments(command: Command, path: string): string[] {
  const options = optionsOf(command);
  return Object.entries(checkSettings(command, readSettings(path), path)).flatMap(([name, value]) =>
    toArguments(options.get(name) as Option, value),
  );
}

/** The options that settings may give, by name. */
function optionsOf(command: Command): Map<string, Option> {
  return new Map(
    command.options
      .filter(({ long }) => long !== '--config' && long !== '--help')
      .map((option) => [option.attributeName(), option]),
  );
}

/**
 * Checks settings against a command's options: each name is one (learningRate, learning-rate and learning_rate are one), each value of its kind.
 *
 * @param path names them in errors
 * @throws DeftuneError naming the path, the field and its value
 */
export function checkSettings(
  command: Command,
  given: Readonly<Record<string, unknown>>,
  path: string,
): Record<string, unknown> {
  const options = optionsOf(command);
  const settings = new Map<string, unknown>();
  for (const [key, value] of Object.entries(given)) {
    const name = key.replace(/[-_]([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (!options.has(name)) {
      throw new DeftuneError(
        `${path}: ${showValue(key)} is no option of ${command.name()}, expected one of ${[...options.keys()].join(', ')}`,
      );
    }
    if (settings.has(name)) throw new DeftuneError(`${path}: ${name} is given twice, expected it once`);
    settings.set(name, value);
  }
  const schema = z.object(
    Object.fromEntries([...settings.keys()].map((name) => [name, schemaOf(options.get(name) as Option)])),
  );
  return validate(schema, Object.fromEntries(settings), path);
}

function readSettings(path: string): Record<string, unknown> {
  const value = path.endsWith('.json') ? readJson(path) : parseYaml(readText(path), path);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DeftuneError(`${path}: the file holds ${showValue(value)}, expected settings by name, e.g. lr: 1e-3`);
}

function parseYaml(text: string, path: string): unknown {
  const document = parseDocument(text, { prettyErrors: true, strict: true });
  const [problem] = document.errors;
  if (problem) {
    const { line = 1, col = 1 } = problem.linePos?.[0] ?? {};
    const [what = ''] = problem.message.split(/ at line \d|\n/);
    throw new DeftuneError(`${path}:${line}:${col}: invalid YAML, ${what.charAt(0).toLowerCase()}${what.slice(1)}`);
  }
  try {
    return document.toJS();
  } catch (cause) {
    throw new DeftuneError(`${path}: invalid YAML, ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
}

/** What an option's value may be; ranges are checked where it is used. */
function schemaOf(option: Option): z.ZodType {
  if (option.negate || option.isBoolean()) return z.boolean();
  if (option.argChoices) return z.enum(option.argChoices);
  const names = z.array(z.string().regex(/^[^,]+$/, 'expected a name without a comma'));
  const byParser = new Map<unknown, z.ZodType>([
    [integer, z.int().min(0)],
    [number, z.number()],
    [integers, z.array(z.int().min(0))],
    [numbers, z.union([z.number(), z.array(z.number()).min(1)])],
    [list, z.preprocess((value) => (typeof value === 'string' ? list(value) : value), names)],
    [targets, z.union([z.string(), names])],
  ]);
  return byParser.get(option.parseArg) ?? z.string();
}

function toArguments(option: Option, value: unknown): string[] {
  if (typeof value === 'boolean') return value === !option.negate ? [option.long as string] : [];
  return [`${option.long}=${Array.isArray(value) ? value.join(',') : String(value)}`];
}
