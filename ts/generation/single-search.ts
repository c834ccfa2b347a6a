import type { Continuation, Search, SearchLimits } from './search.js';

/** Greedy decoding and sampling: one sequence, whose next token is chosen once. */
export class SingleSearch implements Search {
  readonly tokens: number[] = [];

  /** @param choose a token by its logits */
  constructor(
    private readonly limits: SearchLimits,
    private readonly choose: (logits: Float32Array) => number,
  ) {}

  advance([logits]: readonly Float32Array[]): readonly Continuation[] {
    const token = this.choose(logits as Float32Array);
    this.tokens.push(token);
    const { maxNewTokens, eosTokenIds } = this.limits;
    const ends = this.tokens.length >= maxNewTokens || eosTokenIds.includes(token);
    return ends ? [] : [{ origin: 0, token }];
  }
}
