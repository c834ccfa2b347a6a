import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { DeftuneError } from '../../error.js';
import { readJson } from '../../io/files-node.js';
import { showValue } from '../../io/show-value.js';
import { validate } from '../../io/validate.js';
import { GRID_FIGURES } from '../../report/grid-result.js';

/** Names become parts of file names. */
const name = z.string().regex(/^[A-Za-z0-9_-]+$/, 'expected a name of letters, digits, - and _');
const names = z.array(name).min(1);
const settings = z.record(z.string(), z.unknown()).default({});

const catalogue = {
  settings,
  seeds: z.array(z.int().min(0)).min(1).optional(),
  models: z
    .record(name, z.strictObject({ title: z.string(), folders: z.array(z.string()).default([]), settings }))
    .default({}),
  datasets: z
    .record(
      name,
      z.strictObject({ title: z.string(), task: z.string(), folders: z.array(z.string()).default([]), settings }),
    )
    .default({}),
  modules: z.record(name, z.strictObject({ title: z.string(), settings })).default({}),
};

const catalogueSchema = z.strictObject(catalogue);
const gridSchema = z.strictObject({
  ...catalogue,
  title: z.string(),
  rows: z.array(z.strictObject({ models: names, datasets: names, modules: names.optional() })).min(1),
  figures: z.array(z.enum(GRID_FIGURES)).default([]),
});

type Catalogue = z.infer<typeof catalogueSchema>;

/** A model, a data set or a module of a grid; settings are options of `deftune compare` by name. */
export type Entry<Kind extends 'models' | 'datasets' | 'modules'> = Catalogue[Kind][string] & { name: string };

/** One place of a grid: PEFT and DEFT are run there from each seed. */
export interface Cell {
  model: Entry<'models'>;
  dataset: Entry<'datasets'>;
  module: Entry<'modules'>;
}

/** What is to be run. */
export interface Grid {
  /** `table1`, or the file. */
  name: string;
  title: string;
  settings: Record<string, unknown>;
  seeds: number[];
  figures: (typeof GRID_FIGURES)[number][];
  cells: Cell[];
}

const folder = (path: string): string => fileURLToPath(new URL(`../../../assets/paper/${path}`, import.meta.url));

/** The grids of the paper by name. */
export function gridNames(): string[] {
  return readdirSync(folder('grids')).map((file) => file.replace(/\.json$/, ''));
}

/**
 * The grid of that name, or of a JSON file. What a file says of models, data sets and modules goes before the paper's catalogue; names that it
 * does not describe are the catalogue's.
 *
 * @throws DeftuneError naming the file and the field that is wrong
 */
export function readGrid(nameOrFile: string): Grid {
  const known = gridNames();
  const isFile = nameOrFile.endsWith('.json');
  if (!isFile && !known.includes(nameOrFile)) {
    throw new DeftuneError(`grid is ${showValue(nameOrFile)}, expected ${known.join(', ')}, or a .json file`);
  }
  const path = isFile ? nameOrFile : folder(`grids/${nameOrFile}.json`);
  const paper = validate(catalogueSchema, readJson(folder('catalogue.json')), 'catalogue.json');
  const grid = validate(gridSchema, readJson(path), path);
  const entry = <T>(kind: string, own: Record<string, T>, papers: Record<string, T>, wanted: string) => {
    const found = own[wanted] ?? papers[wanted];
    if (found) return { ...found, name: wanted };
    const all = [...new Set([...Object.keys(own), ...Object.keys(papers)])];
    throw new DeftuneError(`${path}: ${kind} has no ${showValue(wanted)}, expected one of ${all.join(', ')}`);
  };
  const modules = [...new Set([...Object.keys(paper.modules), ...Object.keys(grid.modules)])];
  return {
    name: nameOrFile,
    title: grid.title,
    settings: { ...paper.settings, ...grid.settings },
    seeds: grid.seeds ?? paper.seeds ?? [0],
    figures: grid.figures,
    cells: grid.rows.flatMap((row) =>
      row.models.flatMap((model) =>
        row.datasets.flatMap((dataset) =>
          (row.modules ?? modules).map((module) => ({
            model: entry('models', grid.models, paper.models, model),
            dataset: entry('datasets', grid.datasets, paper.datasets, dataset),
            module: entry('modules', grid.modules, paper.modules, module),
          })),
        ),
      ),
    ),
  };
}

/** The cells with some of the modules. @throws DeftuneError where the grid has none of that name */
export function withModules(grid: Grid, wanted: readonly string[] | undefined): Grid {
  if (!wanted) return grid;
  const known = [...new Set(grid.cells.map(({ module }) => module.name))];
  const unknown = wanted.find((one) => !known.includes(one));
  if (unknown !== undefined) {
    throw new DeftuneError(`--modules has ${showValue(unknown)}, expected some of ${known.join(', ')}`);
  }
  return { ...grid, cells: grid.cells.filter(({ module }) => wanted.includes(module.name)) };
}

/** The settings of a cell: the grid's, then the data set's, the model's, the module's, and what the command line says. */
export function cellSettings(grid: Grid, cell: Cell, given: Record<string, unknown>): Record<string, unknown> {
  return { ...grid.settings, ...cell.dataset.settings, ...cell.model.settings, ...cell.module.settings, ...given };
}
