import type { Task } from './task.js';

/** GLUE MRPC: whether two sentences of the news say the same. */
export const mrpc: Task = {
  name: 'mrpc',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['sentence1', '#1 String'], textPair: ['sentence2', '#2 String'], label: ['label', 'Quality'] },
  required: ['text', 'textPair', 'label'],
  prompt: {
    prefix: 'mrpc ',
    fields: [
      ['sentence1', 'text'],
      ['sentence2', 'textPair'],
    ],
  },
  labelNames: ['not_equivalent', 'equivalent'],
  metrics: ['accuracy', 'f1'],
};
