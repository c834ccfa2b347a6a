/** A token within a word: its id and its span there, in UTF-16 units. */
export interface WordToken {
  id: number;
  start: number;
  end: number;
}

/** Cuts a word into the tokens of a vocabulary. */
export interface TokenModel {
  /** Number of tokens. */
  readonly vocabSize: number;
  tokenize(word: string): readonly WordToken[];
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
}
