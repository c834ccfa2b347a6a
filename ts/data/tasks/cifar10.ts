import type { Task } from './task.js';

/** CIFAR-10: the thing that a picture of 32 by 32 pixels shows. */
export const cifar10: Task = {
  name: 'cifar10',
  kind: 'image-classification',
  train: ['train_batch', 'data_batch', 'train'],
  validation: [{ name: 'validation', files: ['test_batch', 'test'] }],
  columns: {},
  required: ['image', 'label'],
  labelNames: ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
  metrics: ['accuracy'],
};
