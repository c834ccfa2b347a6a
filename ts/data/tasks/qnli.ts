import type { Task } from './task.js';

/** GLUE QNLI: whether a sentence answers a question. */
export const qnli: Task = {
  name: 'qnli',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['question'], textPair: ['sentence'], question: [], label: ['label'] },
  required: ['text', 'textPair', 'label'],
  prompt: {
    prefix: 'qnli ',
    fields: [
      ['question', 'text'],
      ['sentence', 'textPair'],
    ],
  },
  labelNames: ['entailment', 'not_entailment'],
  metrics: ['accuracy'],
};
