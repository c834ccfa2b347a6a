import type { Continuation, Search, SearchLimits } from './search.js';

/** A sequence that is still being continued. */
interface Beam {
  tokens: readonly number[];
  /** Sum of the tokens' log-probabilities. */
  score: number;
}

/** A finished sequence. */
interface Hypothesis {
  tokens: readonly number[];
  /** Mean log-probability of its tokens. */
  score: number;
}

/** A beam with one more token. */
interface Candidate extends Continuation {
  score: number;
  ends: boolean;
}

/**
 * Beam search as transformers does it by default: length penalty 1 (scores are means over the new tokens), no early stopping (the search
 * goes on while the best beam, ended here, would be better than the worst of the finished). Scores are rounded to f32 as there.
 */
export class BeamSearch implements Search {
  private beams: readonly Beam[] = [{ tokens: [], score: 0 }];
  /** The best ones, best first; at most numBeams. */
  private finished: readonly Hypothesis[] = [];

  constructor(
    private readonly limits: SearchLimits,
    private readonly numBeams: number,
  ) {}

  get tokens(): readonly number[] {
    return this.finished[0]?.tokens ?? [];
  }

  advance(rows: readonly Float32Array[]): readonly Continuation[] {
    const { numBeams, limits } = this;
    const length = (this.beams[0]?.tokens.length ?? 0) + 1;
    const isLast = length >= limits.maxNewTokens;
    // So many that enough are left should every beam end with every end token.
    const count = Math.max(2, 1 + limits.eosTokenIds.length) * numBeams;
    const candidates = this.best(rows, count).map((candidate) => ({
      ...candidate,
      ends: isLast || limits.eosTokenIds.includes(candidate.token),
    }));
    const ended = candidates
      .slice(0, numBeams)
      .filter(({ ends }) => ends)
      .map((candidate) => ({ tokens: this.extended(candidate), score: Math.fround(candidate.score / length) }));
    // The sort is stable: of equals the one found first stays.
    this.finished = [...this.finished, ...ended].sort((a, b) => b.score - a.score).slice(0, numBeams);
    const running = candidates.filter(({ ends }) => !ends).slice(0, numBeams);
    this.beams = running.map((candidate) => ({ tokens: this.extended(candidate), score: candidate.score }));
    return this.canImprove(length) ? running : [];
  }

  private canImprove(length: number): boolean {
    const [best] = this.beams;
    if (!best) return false;
    const worst = this.finished[this.numBeams - 1];
    return !worst || Math.fround(best.score / length) > worst.score;
  }

  private extended({ origin, token }: Continuation): readonly number[] {
    return [...(this.beams[origin] as Beam).tokens, token];
  }

  /** The `count` likeliest continuations of all beams, likeliest first; of equals the one of the first beam and token. */
  private best(rows: readonly Float32Array[], count: number): Omit<Candidate, 'ends'>[] {
    const found: Omit<Candidate, 'ends'>[] = [];
    rows.forEach((logits, origin) => {
      const { score: before } = this.beams[origin] as Beam;
      const normaliser = logSumExp(logits);
      logits.forEach((logit, token) => {
        const score = Math.fround(Math.fround(logit - normaliser) + before);
        if (found.length === count && score <= (found[count - 1] as Candidate).score) return;
        let place = found.length;
        while (place > 0 && (found[place - 1] as Candidate).score < score) place -= 1;
        found.splice(place, 0, { origin, token, score });
        if (found.length > count) found.pop();
      });
    });
    return found;
  }
}

function logSumExp(values: Float32Array): number {
  const largest = values.reduce((most, value) => Math.max(most, value), -Infinity);
  return largest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}
