import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { sst2 } from './sst2.js';
import type { Task } from './task.js';

export type { Task } from './task.js';

/** All tasks. */
export const TASKS: readonly Task[] = [sst2];

/**
 * The task called `name`.
 *
 * @throws DeftuneError listing the known tasks
 */
export function getTask(name: string): Task {
  const task = TASKS.find((candidate) => candidate.name === name);
  if (!task) {
    throw new DeftuneError(
      `task ${showValue(name)} is unknown, expected one of ${TASKS.map((known) => known.name).join(', ')}`,
    );
  }
  return task;
}
