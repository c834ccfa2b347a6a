import { Parameter } from './parameter.js';

/**
 * A part of a model. Parameters and child modules are found in its properties, whose names are those of the checkpoint
 * (`word_embeddings`, `LayerNorm`), so that a path through the objects is the tensor's name in the file.
 */
export abstract class Module {
  /** Parameters of this module and its children, by checkpoint name. */
  *namedParameters(prefix = ''): Generator<[name: string, parameter: Parameter]> {
    for (const [key, value] of members(this)) {
      if (value instanceof Parameter) yield [prefix + key, value];
      else yield* value.namedParameters(`${prefix}${key}.`);
    }
  }

  /** All modules by path, this one ('') first. */
  *namedModules(path = ''): Generator<[path: string, module: Module]> {
    yield [path, this];
    for (const [key, value] of members(this)) {
      if (value instanceof Module) yield* value.namedModules(path === '' ? key : `${path}.${key}`);
    }
  }

  /** The same modules in the same order, without their paths, which take most of the time. */
  modules(): Module[] {
    const found: Module[] = [];
    const visit = (item: unknown): void => {
      if (item instanceof Module) {
        found.push(item);
        for (const value of Object.values(item) as unknown[]) {
          if (Array.isArray(value)) value.forEach(visit);
          else visit(value);
        }
      }
    };
    visit(this);
    return found;
  }

  /** Puts another module in the place of the one at `path`. */
  replaceModule(path: string, replacement: Module): void {
    const steps = path.split('.');
    const last = steps.pop() as string;
    let parent = this as unknown as Record<string, unknown>;
    for (const step of steps) parent = parent[step] as Record<string, unknown>;
    parent[last] = replacement;
  }

  /** Frees every parameter. */
  dispose(): void {
    for (const [, parameter] of this.namedParameters()) parameter.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Direct parameters and modules of a module; items of arrays are called `name.0`, `name.1`, ... */
function members(module: Module): [string, Parameter | Module][] {
  const found: [string, Parameter | Module][] = [];
  const visit = (name: string, item: unknown): void => {
    if (item instanceof Parameter || item instanceof Module) found.push([name, item]);
  };
  for (const [key, value] of Object.entries(module) as [string, unknown][]) {
    if (Array.isArray(value)) value.forEach((item, index) => visit(`${key}.${index}`, item));
    else visit(key, value);
  }
  return found;
}
