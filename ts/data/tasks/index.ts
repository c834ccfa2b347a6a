import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { cifar10 } from './cifar10.js';
import { cola } from './cola.js';
import { imageFolder } from './image-folder.js';
import { mnli } from './mnli.js';
import { mrpc } from './mrpc.js';
import { qnli } from './qnli.js';
import { qqp } from './qqp.js';
import { rte } from './rte.js';
import { squad } from './squad.js';
import { sst2 } from './sst2.js';
import { stsb } from './stsb.js';
import type { Task } from './task.js';
import { wnli } from './wnli.js';

export type { Task, ValidationSet } from './task.js';

/** All tasks. */
export const TASKS: readonly Task[] = [cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, squad, cifar10, imageFolder];

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
