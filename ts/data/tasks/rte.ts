import type { Task } from './task.js';

/** GLUE RTE: whether one sentence entails another. */
export const rte: Task = {
  name: 'rte',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['sentence1'], textPair: ['sentence2'], label: ['label'] },
  required: ['text', 'textPair', 'label'],
  prompt: {
    prefix: 'rte ',
    fields: [
      ['sentence1', 'text'],
      ['sentence2', 'textPair'],
    ],
  },
  labelNames: ['entailment', 'not_entailment'],
  metrics: ['accuracy'],
};
