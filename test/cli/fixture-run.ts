// A training run on a fixture's batches, the lines that it logs, and what PyTorch has for them.
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { fixture, recordsOf } from './fixtures.js';
import { writeLines } from './run-deftune.js';

export interface Step {
  step: number;
  loss: number;
  taskLoss: number;
  densityLoss: number;
  density: number;
  lr: number;
  tokens: number;
  seconds: number;
}

export const STEP_FIELDS = ['step', 'loss', 'taskLoss', 'densityLoss', 'density', 'lr', 'tokens', 'seconds'] as const;

/** A run on the first batches of a fixture, in their order, four records a batch. */
export function fixtureRun(
  folder: string,
  variant: string,
): { args: (string | number)[]; log: string; out: string; records: string } {
  const { model, adapter, expected } = fixture(variant);
  const records = writeLines(join(folder, `${variant}.jsonl`), recordsOf(expected.training.batches));
  const log = join(folder, 'log.jsonl');
  const out = join(folder, 'out');
  const args = ['train', '--model', model, '--adapter', adapter, '--train-file', records, '--out', out, '--log', log];
  return { args: [...args, '--no-shuffle', '--batch-size', 4], log, out, records };
}

export function isClose(t: ExecutionContext, actual: number, expected: number, tolerance: number, what: string): void {
  const error = Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-3);
  t.true(error <= tolerance, `${what} is ${actual}, PyTorch has ${expected}`);
}
