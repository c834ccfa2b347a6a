import { DeftuneError } from '../error.js';

/** A loss or gradient became NaN or infinite. */
export class NonFiniteError extends DeftuneError {
  constructor(
    /** From 1. */
    readonly step: number,
    what: string,
    value: number,
    /** The first tensor that went wrong. */
    readonly culprit: string,
  ) {
    super(
      `step ${step}: ${what} is ${value}, expected a finite number; the first tensor that went wrong is ${culprit}; try a smaller learning rate (lr)`,
    );
  }
}
