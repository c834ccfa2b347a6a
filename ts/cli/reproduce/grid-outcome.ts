import type { GridGroup } from '../../report/grid-result.js';
import { paperFigures } from './paper-figures.js';
import type { Plan } from './plan.js';
import type { RunStore, StoredRun } from './run-store.js';

/** What of a plan is done, by cell, beside the paper's figures. */
export function gridOutcome({ cells, runs }: Plan, store: RunStore): { groups: GridGroup[]; runsDone: number } {
  const groups = cells.map(({ cell, modelStandIn, dataStandIn }): GridGroup => {
    const stored = runs.filter((run) => run.cell === cell).flatMap((run) => store.read(run) ?? []);
    const first: StoredRun | undefined = stored[0];
    return {
      ...{ model: cell.model.title, modelStandIn, dataset: cell.dataset.title, dataStandIn, module: cell.module.title },
      method: first?.method ?? '',
      density: stored.find(({ density }) => density !== undefined)?.density ?? '',
      trainExamples: first?.trainExamples ?? 0,
      validExamples: first?.validExamples ?? 0,
      runs: stored.map(({ result }) => result),
      paper: paperFigures(cell),
    };
  });
  return { groups, runsDone: groups.reduce((sum, group) => sum + group.runs.length, 0) };
}
