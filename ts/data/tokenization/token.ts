/** Which of the texts given to `encode` a token belongs to; null: none, it is a special token that was added. */
export type SequenceId = 0 | 1 | null;

/** A token of a text. */
export interface Token {
  id: number;
  /** Its characters; for unknown ones and added tokens, those of the text. */
  value: string;
  /** The text that it is in; empty for a special token that was added. */
  source: string;
  /** Span in the original text, in UTF-16 units; 0 and 0 for a special token that was added. */
  start: number;
  end: number;
  typeId: number;
  sequenceId: SequenceId;
}
