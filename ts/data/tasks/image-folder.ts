import type { Task } from './task.js';

/** Pictures in a folder a class, in the folders `train` and `validation` (or `valid`, `val`, `dev`, `test`). */
export const imageFolder: Task = {
  name: 'image-folder',
  kind: 'image-classification',
  train: ['train', 'training'],
  validation: [{ name: 'validation', files: ['validation', 'valid', 'val', 'dev', 'test'] }],
  columns: {},
  required: ['image', 'label'],
  labelNames: [],
  metrics: ['accuracy'],
};
