import type { PlannedRun } from './run-store.js';

/** A run and the seconds that it took. */
export interface TimedRun {
  run: PlannedRun;
  seconds: number;
}

/**
 * Seconds that the remaining runs will take: each as the finished ones of its model and data set on average, else as all of them; undefined
 * before the first has finished.
 */
export function timeLeft(finished: readonly TimedRun[], remaining: readonly PlannedRun[]): number | undefined {
  if (finished.length === 0) return undefined;
  const mean = (runs: readonly TimedRun[]): number => runs.reduce((sum, { seconds }) => sum + seconds, 0) / runs.length;
  return remaining.reduce((sum, { cell }) => {
    const alike = finished.filter(
      ({ run }) => run.cell.model.name === cell.model.name && run.cell.dataset.name === cell.dataset.name,
    );
    return sum + mean(alike.length > 0 ? alike : finished);
  }, 0);
}
