import { Command } from 'commander';
import type { GridGap } from '../../report/grid-result.js';
import { checkSettings } from '../config-file.js';
import { BUDGET_OPTIONS, DENSITY_OPTIONS, budgetEvaluations } from '../density-settings.js';
import { GATE_OPTIONS } from '../gate-settings.js';
import { addDensityOption, addRunOptions, type RunOptions } from '../options.js';
import type { Folders } from './find-folders.js';
import { cellSettings, type Cell, type Grid } from './grid.js';
import type { PlannedRun } from './run-store.js';

/** A cell whose model and data are there. */
export interface LocatedCell {
  cell: Cell;
  modelStandIn: string | undefined;
  dataStandIn: string | undefined;
}

/** What is to be run, in that order, and what cannot be. */
export interface Plan {
  cells: LocatedCell[];
  runs: PlannedRun[];
  skipped: GridGap[];
}

/** The settings that a grid may have: options of a comparison. */
const settingsCommand = addDensityOption(addRunOptions(new Command('compare')));

/** Options that a plain PEFT run does not read. */
const OF_DENSITY: ReadonlySet<string> = new Set([
  'density',
  ...DENSITY_OPTIONS,
  ...BUDGET_OPTIONS,
  'layerGates',
  ...GATE_OPTIONS,
]);

/**
 * Every run of a grid, all places with the first seed before the second: a part of them is a table already.
 *
 * @param given what the command line says, before the grid's settings
 * @throws DeftuneError naming a setting that is not right
 */
export function planGrid(grid: Grid, folders: Folders, seeds: readonly number[], given: Record<string, unknown>): Plan {
  const gaps = new Map<string, GridGap>();
  const cells: LocatedCell[] = [];
  const ofCells: Omit<PlannedRun, 'seed'>[] = [];
  for (const cell of grid.cells) {
    const settings = checkSettings(settingsCommand, cellSettings(grid, cell, given), grid.name);
    const [model, data] = [folders.model(cell), folders.data(cell)];
    if ('reason' in model) gaps.set(`model ${cell.model.name}`, { what: cell.model.title, reason: model.reason });
    if ('reason' in data) gaps.set(`data ${cell.dataset.name}`, { what: cell.dataset.title, reason: data.reason });
    if ('reason' in model || 'reason' in data) continue;
    cells.push({ cell, modelStandIn: model.standIn, dataStandIn: data.standIn });
    const all = {
      ...settings,
      ...budgetEvaluations(settings as Partial<RunOptions>),
      model: model.path,
      data: data.path,
      task: cell.dataset.task,
    };
    const plain = Object.fromEntries(Object.entries(all).filter(([name]) => !OF_DENSITY.has(name)));
    ofCells.push({ cell, variant: 'PEFT', settings: plain }, { cell, variant: 'DEFT', settings: all });
  }
  return {
    cells,
    runs: seeds.flatMap((seed) => ofCells.map((run) => ({ ...run, seed }))),
    skipped: [...gaps.values()],
  };
}
