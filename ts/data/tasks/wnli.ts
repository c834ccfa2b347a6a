import type { Task } from './task.js';

/** GLUE WNLI: whether a sentence with its pronoun replaced follows from the original. */
export const wnli: Task = {
  name: 'wnli',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['sentence1'], textPair: ['sentence2'], label: ['label'] },
  required: ['text', 'textPair', 'label'],
  prompt: {
    prefix: 'wnli ',
    fields: [
      ['sentence1', 'text'],
      ['sentence2', 'textPair'],
    ],
  },
  labelNames: ['not_entailment', 'entailment'],
  metrics: ['accuracy'],
};
