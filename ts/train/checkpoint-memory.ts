import type { CheckpointStore, TrainingState } from './checkpoint.js';

/** Keeps the newest and the best state in memory, for runs that need no files but end with their best parameters. */
export function checkpointMemory(): CheckpointStore {
  let latest: TrainingState | undefined;
  let best: TrainingState | undefined;
  return {
    save(state, { isBest }) {
      latest = state;
      if (isBest) best = state;
    },
    latest: () => latest,
    at(step) {
      const found = [best, latest].find((state) => state?.step === step);
      if (!found) throw new RangeError(`no state of step ${step} is in memory`);
      return found;
    },
  };
}
