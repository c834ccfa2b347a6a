import type { RunLogEntry } from './compare-result.js';

/**
 * A log of at most `most` entries: a longer one is cut into groups of neighbours, each its last step and the means of its values. A grid
 * keeps many runs, and no figure shows more.
 */
export function thinLog(log: readonly RunLogEntry[], most: number): RunLogEntry[] {
  const groups = Math.min(log.length, most);
  return Array.from({ length: groups }, (_, group) => {
    const part = log.slice(Math.floor((group * log.length) / groups), Math.floor(((group + 1) * log.length) / groups));
    const mean = (of: (entry: RunLogEntry) => number): number =>
      part.reduce((sum, entry) => sum + of(entry), 0) / part.length;
    return {
      step: part.at(-1)?.step ?? 0,
      loss: mean(({ loss }) => loss),
      taskLoss: mean(({ taskLoss }) => taskLoss),
      densityLoss: mean(({ densityLoss }) => densityLoss),
      density: mean(({ density }) => density),
      lr: mean(({ lr }) => lr),
      seconds: mean(({ seconds }) => seconds),
    };
  });
}
