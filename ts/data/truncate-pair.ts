/**
 * Lengths that two sequences keep under a common limit, by Hugging Face's `longest_first` rule: the
 * longer one is cut first; when both are over half, each gets half, the odd token going to the longer.
 *
 * @param first tokens in the first sequence
 * @param second tokens in the second sequence
 * @param limit tokens allowed together
 * @returns the lengths to keep, in the order of the arguments
 */
export function truncatePair(first: number, second: number, limit: number): [number, number] {
  if (first + second <= limit) return [first, second];
  let short = Math.min(first, second);
  let long = Math.max(short, limit - short);
  if (short > limit) long = short;
  if (short + long > limit) {
    short = Math.floor(limit / 2);
    long = short + (limit % 2);
  }
  return first > second ? [long, short] : [short, long];
}
