/**
 * Perplexity of a language model: exp of the mean cross-entropy over all label tokens, in nats. From 1; smaller is better.
 *
 * @param loss mean over tokens, not over batches
 */
export function perplexity(loss: number): number {
  return Math.exp(loss);
}
