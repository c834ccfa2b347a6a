import type { Task } from './task.js';

/** GLUE MNLI: whether a premise entails a hypothesis, contradicts it or neither. */
export const mnli: Task = {
  name: 'mnli',
  kind: 'classification',
  train: ['train'],
  validation: [
    { name: 'matched', files: ['dev_matched', 'validation_matched'] },
    { name: 'mismatched', files: ['dev_mismatched', 'validation_mismatched'] },
  ],
  columns: { text: ['premise', 'sentence1'], textPair: ['hypothesis', 'sentence2'], label: ['label', 'gold_label'] },
  required: ['text', 'textPair', 'label'],
  prompt: {
    prefix: 'mnli ',
    fields: [
      ['hypothesis', 'textPair'],
      ['premise', 'text'],
    ],
  },
  labelNames: ['entailment', 'neutral', 'contradiction'],
  metrics: ['accuracy'],
};
