import type { Task } from './task.js';

/** SQuAD v1.1: questions whose answer is a span of a paragraph of Wikipedia. */
export const squad: Task = {
  name: 'squad',
  kind: 'question-answering',
  train: ['train-v1.1', 'train'],
  validation: [{ name: 'validation', files: ['dev-v1.1', 'dev', 'validation'] }],
  columns: {},
  required: ['question', 'context', 'answers'],
  prompt: {
    prefix: '',
    fields: [
      ['question', 'question'],
      ['context', 'context'],
    ],
  },
  labelNames: [],
  metrics: ['answerF1', 'exactMatch'],
};
