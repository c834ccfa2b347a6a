/** One more token behind one of a search's sequences. */
export interface Continuation {
  /** Which of the sequences it continues: index of the row of logits. */
  origin: number;
  token: number;
}

/** What stops a search. */
export interface SearchLimits {
  maxNewTokens: number;
  /** Tokens that end a text. */
  eosTokenIds: readonly number[];
}

/** The search for one prompt's continuation, whatever the model is. */
export interface Search {
  /**
   * Takes the logits of what may follow each of its sequences (at first one) and says how it goes on.
   *
   * @param rows one a sequence [vocabSize]
   * @returns the sequences of the next step; none where the search has ended
   */
  advance(rows: readonly Float32Array[]): readonly Continuation[];
  /** The new tokens found, with the end token where it came. */
  readonly tokens: readonly number[];
}
