import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { truncatePair } from '../truncate-pair.js';

/** Which text is cut when two are too long together: the longer first, or always the same one. */
export type Truncation = 'longest-first' | 'only-first' | 'only-second';

/** Pieces of one text: start and end (exclusive) in tokens, the first piece first. */
export type Window = readonly [start: number, end: number];

/**
 * How one text or two are cut to at most `limit` tokens together, by the reference's `truncate_encodings`.
 *
 * @param lengths tokens of each text
 * @param limit tokens allowed, special ones not counted; undefined: no limit
 * @param stride tokens that a window repeats from the one before
 * @returns for each text its windows
 * @throws DeftuneError when the text to cut is too short to be cut enough, or when windows would not move on
 */
export function cutToLimit(
  lengths: readonly [number] | readonly [number, number],
  limit: number | undefined,
  truncation: Truncation,
  stride: number,
): Window[][] {
  const [first, second] = lengths;
  const total = first + (second ?? 0);
  const excess = limit === undefined ? 0 : total - limit;
  if (limit === undefined || excess <= 0) return lengths.map((length): Window[] => [[0, length]]);
  const keep: [number, number] =
    truncation !== 'longest-first'
      ? keepOther(first, second, excess, truncation)
      : second === undefined
        ? [limit, 0]
        : truncatePair(first, second, limit);
  return lengths.map((length, index) => windowsOf(length, keep[index]!, stride));
}

function keepOther(
  first: number,
  second: number | undefined,
  excess: number,
  truncation: Truncation,
): [number, number] {
  const isFirst = truncation === 'only-first';
  const name = isFirst ? 'the first text' : 'the second text';
  const length = isFirst ? first : second;
  if (length === undefined)
    throw new DeftuneError("truncation is 'only-second', expected 'longest-first' or 'only-first' for a single text");
  if (length <= excess) {
    throw new DeftuneError(
      `maxLength leaves no room for ${name}, the one to be cut: the other text is too long by ${excess - length + 1} tokens`,
    );
  }
  return isFirst ? [first - excess, second ?? 0] : [first, length - excess];
}

function windowsOf(length: number, size: number, stride: number): Window[] {
  if (size >= length) return [[0, length]];
  // Nothing of this text fits: the reference keeps it whole for a further window.
  if (size === 0)
    return [
      [0, 0],
      [0, length],
    ];
  if (!Number.isSafeInteger(stride) || stride < 0 || stride >= size) {
    throw new DeftuneError(
      `stride is ${showValue(stride)}, expected a whole number from 0 to ${size - 1}: a window holds ${size} tokens of the text`,
    );
  }
  const windows: Window[] = [];
  for (let start = 0; ; start += size - stride) {
    const end = Math.min(start + size, length);
    windows.push([start, end]);
    if (end === length) return windows;
  }
}
