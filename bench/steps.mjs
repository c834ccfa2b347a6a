import { bertStep } from './random-bert.mjs';
import { t5Step } from './random-t5.mjs';

/** What bench:train measures, by the name of its option: functions of the number of batches. */
export const steps = { bert: bertStep, t5: t5Step };
