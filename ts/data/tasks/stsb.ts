import type { Task } from './task.js';

/** GLUE STS-B: how similar two sentences are, 0 to 5. */
export const stsb: Task = {
  name: 'stsb',
  kind: 'regression',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['sentence1'], textPair: ['sentence2'], label: ['label', 'score'] },
  required: ['text', 'textPair', 'label'],
  prompt: {
    prefix: 'stsb ',
    fields: [
      ['sentence1', 'text'],
      ['sentence2', 'textPair'],
    ],
  },
  labelNames: [],
  metrics: ['pearson', 'spearman'],
};
