import type { Task } from './task.js';

/** GLUE SST-2: whether a sentence of a film review is positive. */
export const sst2: Task = {
  name: 'sst2',
  // A slash works on every platform, and keeps this file free of node:path.
  files: (dir) => ({ train: `${dir}/train.tsv`, valid: `${dir}/dev.tsv` }),
  textColumns: ['sentence'],
  labelNames: ['negative', 'positive'],
  metric: 'accuracy',
};
