import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';

/** Where a step is in its run. */
export interface ScheduleContext {
  /** Steps of linear warm-up. */
  warmup: number;
  /** Steps of the run. */
  total: number;
  /** `cosine_with_restarts`: how often the cosine is run through; default 1. `cosine`: waves, default 0.5. */
  cycles?: number | undefined;
  /** `polynomial`: exponent; default 1. */
  power?: number | undefined;
  /** `polynomial`: last factor; default 1e-4. `warmup_stable_decay`: lowest factor, default 0. */
  minimum?: number | undefined;
  /** `warmup_stable_decay`: steps of the decay at the end; default a tenth of the run. */
  decaySteps?: number | undefined;
}

/** Factor on the learning rate at a step (from 0); warm-up is over when it is asked. */
type Schedule = (step: number, context: ScheduleContext) => number;

/** Share of the run after the warm-up, 0 to 1. */
const progress = (step: number, { warmup, total }: ScheduleContext): number =>
  (step - warmup) / Math.max(1, total - warmup);

// Each is transformers' schedule of the same name (optimization.py), after a linear warm-up from 0.
const SCHEDULES: Readonly<Record<string, Schedule>> = {
  linear: (step, context) => Math.max(0, 1 - progress(step, context)),
  constant: () => 1,
  cosine: (step, context) =>
    Math.max(0, 0.5 * (1 + Math.cos(Math.PI * (context.cycles ?? 0.5) * 2 * progress(step, context)))),
  cosine_with_restarts(step, context) {
    const done = progress(step, context);
    if (done >= 1) return 0;
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * (((context.cycles ?? 1) * done) % 1))));
  },
  polynomial(step, context) {
    const { power = 1, minimum = 1e-4, total } = context;
    return step > total ? minimum : (1 - minimum) * (1 - progress(step, context)) ** power + minimum;
  },
  inverse_sqrt(step, { warmup }) {
    // transformers' timescale: the warm-up, or 10,000 steps without one.
    const timescale = warmup || 10_000;
    return 1 / Math.sqrt((step + timescale - warmup) / timescale);
  },
  warmup_stable_decay(step, { total, minimum = 0, decaySteps = Math.ceil(total / 10) }) {
    const start = total - decaySteps;
    if (step < start) return 1;
    if (step >= total) return minimum;
    const wave = 0.5 * (1 + Math.cos((Math.PI * (step - start)) / Math.max(1, decaySteps)));
    return (1 - minimum) * wave + minimum;
  },
  // The factor itself follows the evaluations: see Plateau.
  reduce_on_plateau: () => 1,
};

/** Names of the schedules. */
export const SCHEDULE_NAMES: readonly string[] = Object.keys(SCHEDULES);

/**
 * The learning-rate factor at a step (from 0) of the schedule called `name`.
 * @throws DeftuneError listing the known ones.
 */
export function schedule(name: string): Schedule {
  const found = Object.hasOwn(SCHEDULES, name) ? SCHEDULES[name] : undefined;
  if (!found) throw new DeftuneError(`scheduler is ${showValue(name)}, expected one of ${SCHEDULE_NAMES.join(', ')}`);
  return (step, context) => (step < context.warmup ? step / Math.max(1, context.warmup) : found(step, context));
}

/** Warm-up steps from a count (1 or more) or a ratio of the run (below 1). */
export function warmupSteps(warmup: number, total: number): number {
  return warmup < 1 ? Math.ceil(warmup * total) : warmup;
}
