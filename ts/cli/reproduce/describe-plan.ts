import { isDeepStrictEqual } from 'node:util';
import Table from 'cli-table3';
import type { Plan } from './plan.js';
import type { RunStore } from './run-store.js';

/** What a plan would run, for people and as data. */
export function describePlan({ cells, runs, skipped }: Plan, store: RunStore): { lines: string[]; json: object } {
  const rows = cells.map(({ cell }) => {
    const own = runs.filter((run) => run.cell === cell);
    return {
      ...{ model: cell.model.name, dataset: cell.dataset.name, module: cell.module.name },
      runs: own.length,
      done: own.filter((run) => store.read(run) !== undefined).length,
      // DEFT's have those of PEFT and more.
      settings: own.find(({ variant }) => variant === 'DEFT')?.settings ?? {},
    };
  });
  const table = new Table({
    head: ['model', 'data', 'module', 'runs', 'done', 'settings of its own'],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'left', 'left', 'right', 'right', 'left'],
  });
  const shared = sharedSettings(rows.map(({ settings }) => settings));
  for (const { model, dataset, module, runs: all, done, settings } of rows) {
    table.push([model, dataset, module, String(all), String(done), describeSettings(settings, shared)]);
  }
  const done = rows.reduce((sum, row) => sum + row.done, 0);
  return {
    lines: [
      ...(rows.length > 0 ? [`all: ${describeSettings(shared)}`, table.toString()] : []),
      ...skipped.map(({ what, reason }) => `skipped: ${what}: ${reason}`),
      `${done} of ${runs.length} runs done`,
    ],
    json: { cells: rows, skipped, runsDone: done, runsPlanned: runs.length },
  };
}

/** What all settings have, with the same value. */
function sharedSettings([first = {}, ...rest]: readonly Record<string, unknown>[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(first).filter(([name, value]) => rest.every((other) => isDeepStrictEqual(other[name], value))),
  );
}

/** Settings but for the paths, which the first columns stand for, and but for those that are said elsewhere. */
function describeSettings(settings: Record<string, unknown>, elsewhere: Record<string, unknown> = {}): string {
  return Object.entries(settings)
    .filter(([name]) => !['model', 'data', 'task'].includes(name) && !(name in elsewhere))
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
}
