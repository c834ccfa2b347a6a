import { Rng } from '../data/rng.js';

/** How tokens are drawn. */
export interface SamplingOptions {
  /** Logits are divided by it, above 0: below 1 the likely tokens become likelier. */
  temperature: number;
  /** Only so many of the likeliest tokens are drawn from; 0: all. */
  topK: number;
  /** Only the likeliest tokens whose probabilities together reach it are drawn from, above 0 to 1. */
  topP: number;
}

/**
 * Draws tokens: temperature, then topK, then topP, as in transformers (its random numbers are others).
 *
 * @param seed numbers that give the draws
 */
export function sampler(
  { temperature, topK, topP }: SamplingOptions,
  seed: readonly number[],
): (logits: Float32Array) => number {
  const rng = new Rng(...seed);
  return (logits) => {
    const scores = logits.map((logit) => logit / temperature);
    const order = Array.from(scores.keys()).sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
    const score = (rank: number): number => scores[order[rank] as number] as number;
    let kept = order.length;
    if (topK > 0 && topK < kept) {
      const least = score(topK - 1);
      kept = topK;
      // Equal ones stay, as there.
      while (kept < order.length && score(kept) === least) kept += 1;
    }
    let weights = Array.from({ length: kept }, (_, rank) => Math.exp(score(rank) - score(0)));
    if (topP < 1) {
      const total = sum(weights);
      let reached = 0;
      const enough = weights.findIndex((weight) => (reached += weight / total) >= topP);
      if (enough >= 0) weights = weights.slice(0, enough + 1);
    }
    let left = rng.nextFloat() * sum(weights);
    const drawn = weights.findIndex((weight) => (left -= weight) < 0);
    return order[drawn < 0 ? 0 : drawn] as number;
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
