import type { Task } from './task.js';

/** GLUE SST-2: whether a sentence of a film review is positive. */
export const sst2: Task = {
  name: 'sst2',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['sentence', 'text'], label: ['label'] },
  required: ['text', 'label'],
  prompt: { prefix: 'sst2 ', fields: [['sentence', 'text']] },
  labelNames: ['negative', 'positive'],
  metrics: ['accuracy'],
};
