// The adapter and the data of the training tests that need no others.
import { readExpected } from '../models/bert-fixtures.js';
import { datasetOf } from './training-fixtures.js';

export const LORA = { method: 'lora', r: 2, loraAlpha: 4, targetModules: ['query', 'value', 'output.dense'] };
const { training } = readExpected('relu');
/** 24 labelled sequences of 2 to 16 tokens. */
export const data = datasetOf(training.batches.slice(0, 6));
