/** One example as a data file states it. `text` or `inputIds` is always present. */
export interface TextRecord {
  /** May be empty: it then tokenizes to the special tokens alone. */
  text?: string;
  textPair?: string;
  /** Ready-made token ids, at least one; they take precedence over `text`. */
  inputIds?: number[];
  /** A class index or regression target (number), or a class name (string). */
  label?: number | string;
  /** Line of the file on which the record starts, from 1. */
  line: number;
}
