import { readdirSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { findTaskFiles } from '../../data/task-files-node.js';
import { getTask } from '../../data/tasks/index.js';
import { DeftuneError } from '../../error.js';
import { fileExists, readJson } from '../../io/files-node.js';
import { showValue } from '../../io/show-value.js';
import { validate } from '../../io/validate.js';
import type { Cell, Grid } from './grid.js';

/** Where a grid's models and data may be. */
export interface Places {
  models?: string | undefined;
  data?: string | undefined;
  /** JSON file: `{ "models": { NAME: FOLDER }, "data": { NAME: FOLDER } }`. */
  map?: string | undefined;
}

/** A folder, or why there is none. */
export type Found = { path: string; standIn: string | undefined } | { reason: string };

/** Where each model and each data set of a grid is. */
export interface Folders {
  model(cell: Cell): Found;
  data(cell: Cell): Found;
}

const mapSchema = z.strictObject({
  models: z.record(z.string(), z.string()).default({}),
  data: z.record(z.string(), z.string()).default({}),
});

/**
 * Looks for the folders of a grid: those that the map names (relative to `models` and `data`, else to the map's own folder), else those that are
 * called as the model or data set, in any case.
 *
 * @throws DeftuneError where the map is not right, or names what the grid does not have; what is absent is a reason, not an error
 */
export function findFolders(grid: Grid, { models, data, map }: Places): Folders {
  const given = map === undefined ? { models: {}, data: {} } : readMap(grid, map);
  const beside = map === undefined ? '.' : dirname(map);
  return {
    model({ model }) {
      const mapped = given.models[model.name];
      const found =
        mapped === undefined
          ? named([model.name, ...model.folders], models, '--models')
          : {
              path: isAbsolute(mapped) ? mapped : join(models ?? beside, mapped),
              standIn: basename(resolve('/', mapped)),
            };
      if ('reason' in found || fileExists(join(found.path, 'config.json'))) return found;
      return { reason: `${found.path} has no config.json` };
    },
    data({ dataset }) {
      const mapped = given.data[dataset.name];
      const found =
        mapped === undefined
          ? named([dataset.name, ...dataset.folders], data, '--data')
          : {
              path: isAbsolute(mapped) ? mapped : join(data ?? beside, mapped),
              standIn: basename(resolve('/', mapped)),
            };
      if ('reason' in found) return found;
      try {
        findTaskFiles(getTask(dataset.task), found.path);
        return found;
      } catch (error) {
        if (error instanceof DeftuneError) return { reason: error.message };
        throw error;
      }
    },
  };
}

function readMap(grid: Grid, path: string): z.infer<typeof mapSchema> {
  const map = validate(mapSchema, readJson(path), path);
  const known = {
    models: [...new Set(grid.cells.map(({ model }) => model.name))],
    data: [...new Set(grid.cells.map(({ dataset }) => dataset.name))],
  };
  for (const kind of ['models', 'data'] as const) {
    const unknown = Object.keys(map[kind]).find((name) => !known[kind].includes(name));
    if (unknown === undefined) continue;
    throw new DeftuneError(`${path}: ${kind} has ${showValue(unknown)}, expected some of ${known[kind].join(', ')}`);
  }
  return map;
}

/** The first folder in `where` that has one of the names, `owner/name` included. */
function named(names: readonly string[], where: string | undefined, option: string): Found {
  if (where === undefined) return { reason: `no ${option} given` };
  for (const name of names) {
    let path = where;
    for (const part of name.split('/')) {
      const entry = entries(path).find((one) => one.toLowerCase() === part.toLowerCase());
      path = entry === undefined ? '' : join(path, entry);
      if (path === '') break;
    }
    if (path !== '') return { path, standIn: undefined };
  }
  return { reason: `no folder ${[...new Set(names)].join(' or ')} in ${where}` };
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
