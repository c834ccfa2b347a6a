import type { Task } from './task.js';

/** GLUE QQP: whether two questions ask the same. */
export const qqp: Task = {
  name: 'qqp',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['question1'], textPair: ['question2'], label: ['label', 'is_duplicate'] },
  required: ['text', 'textPair', 'label'],
  // Three rows of the official training file are torn apart; everybody leaves them out.
  skipIncompleteRows: true,
  prompt: {
    prefix: 'qqp ',
    fields: [
      ['question1', 'text'],
      ['question2', 'textPair'],
    ],
  },
  labelNames: ['not_duplicate', 'duplicate'],
  metrics: ['accuracy', 'f1'],
};
