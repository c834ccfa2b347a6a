import type { Task } from './task.js';

/** GLUE CoLA: whether a sentence is acceptable English. */
export const cola: Task = {
  name: 'cola',
  kind: 'classification',
  train: ['train'],
  validation: [{ name: 'validation', files: ['dev', 'validation'] }],
  columns: { text: ['sentence'], label: ['label'] },
  required: ['text', 'label'],
  // Its TSV files have none.
  header: ['source', 'label', 'star', 'sentence'],
  prompt: { prefix: 'cola ', fields: [['sentence', 'text']] },
  labelNames: ['unacceptable', 'acceptable'],
  metrics: ['matthews'],
};
