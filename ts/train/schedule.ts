import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';

/** Learning-rate factor at a step (from 0) of `total`, after `warmup` steps of linear warm-up; as in transformers. */
type Schedule = (step: number, warmup: number, total: number) => number;

const warm = (step: number, warmup: number): number => step / Math.max(1, warmup);

const SCHEDULES: Readonly<Record<string, Schedule>> = {
  linear: (step, warmup, total) =>
    step < warmup ? warm(step, warmup) : Math.max(0, (total - step) / Math.max(1, total - warmup)),
  constant: (step, warmup) => (step < warmup ? warm(step, warmup) : 1),
};

/** Names of the schedules. */
export const SCHEDULE_NAMES: readonly string[] = Object.keys(SCHEDULES);

/** The schedule called `name`. @throws DeftuneError listing the known ones. */
export function schedule(name: string): Schedule {
  const found = Object.hasOwn(SCHEDULES, name) ? SCHEDULES[name] : undefined;
  if (found) return found;
  throw new DeftuneError(`scheduler is ${showValue(name)}, expected one of ${SCHEDULE_NAMES.join(', ')}`);
}

/** Warm-up steps from a count (1 or more) or a ratio of the run (below 1). */
export function warmupSteps(warmup: number, total: number): number {
  return warmup < 1 ? Math.ceil(warmup * total) : warmup;
}
