import { DeftuneError } from '../error.js';

/** Limits of bestSpan. */
export interface SpanOptions {
  /** How many of the best starts, and of the best ends, are combined; default 20. */
  nBest?: number | undefined;
  /** In tokens; default 30. */
  maxAnswerLength?: number | undefined;
}

/** An answer as tokens `start` to `end`, both included. */
export interface Span {
  start: number;
  end: number;
  /** startLogits[start] + endLogits[end], in single precision; compares the windows of one context. */
  score: number;
}

/**
 * The best answer span, as `postprocess_qa_predictions` of transformers' examples finds it: the nBest starts and the nBest ends of
 * all tokens are combined; pairs outside the context, in the wrong order or longer than maxAnswerLength are dropped; the
 * largest sum of logits wins. Of equal logits the later token comes first.
 *
 * @param startLogits [tokens]
 * @param endLogits [tokens]
 * @param contextTokenMask [tokens], whether a token is of the context
 * @returns undefined when no pair is left: the answer is then empty
 * @throws DeftuneError when the lengths differ or a limit is not a whole number from 1
 */
export function bestSpan(
  startLogits: ArrayLike<number>,
  endLogits: ArrayLike<number>,
  contextTokenMask: ArrayLike<boolean | number>,
  { nBest = 20, maxAnswerLength = 30 }: SpanOptions = {},
): Span | undefined {
  const tokens = startLogits.length;
  if (endLogits.length !== tokens || contextTokenMask.length !== tokens) {
    throw new DeftuneError(
      `bestSpan: ${tokens} start logits, ${endLogits.length} end logits, a mask of ${contextTokenMask.length}, expected as many of each`,
    );
  }
  for (const [name, value] of Object.entries({ nBest, maxAnswerLength })) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new DeftuneError(`bestSpan: ${name} is ${value}, expected a whole number from 1`);
  }
  const inContext = (index: number): boolean => Boolean(contextTokenMask[index]);
  // The mask counts after the choice of the best, not before: so does the reference.
  const starts = largest(startLogits, nBest).filter(inContext);
  const ends = largest(endLogits, nBest).filter(inContext);
  let best: Span | undefined;
  for (const start of starts) {
    for (const end of ends) {
      if (end < start || end - start + 1 > maxAnswerLength) continue;
      const score = Math.fround((startLogits[start] ?? 0) + (endLogits[end] ?? 0));
      if (best === undefined || score > best.score) best = { start, end, score };
    }
  }
  return best;
}

/** Indexes of the n largest values, the largest first. */
function largest(values: ArrayLike<number>, n: number): number[] {
  const order = Array.from(values, (_, index) => index);
  return order.sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || b - a).slice(0, n);
}
