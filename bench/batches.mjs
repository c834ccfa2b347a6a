// Batches of sequences of several lengths.

/** `count` batches: the lengths of their sequences, which `lengthsOf(batch)` gives, the tokens of each and their mean. */
export function batchesOf(count, lengthsOf) {
  const lengths = Array.from({ length: count }, (_, batch) => lengthsOf(batch));
  const tokens = lengths.map((batch) => batch.reduce((sum, length) => sum + length, 0));
  return { lengths, tokens, meanTokens: tokens.reduce((sum, of) => sum + of, 0) / count };
}

/** `5` or `3 to 9`. */
export function range(numbers) {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return least === most ? String(most) : `${least} to ${most}`;
}
