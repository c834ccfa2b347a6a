import { DeftuneError } from '../error.js';

/** @throws DeftuneError where `threads` is no number of threads: 1 to 256, or 0 for the default. */
export function checkThreads(threads: number): void {
  if (Number.isInteger(threads) && threads >= 0 && threads <= 256) return;
  throw new DeftuneError(`threads is ${threads}, expected an integer from 1 to 256 (or 0 for the default)`);
}
