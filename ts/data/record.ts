import type { RawImage } from './raw-image.js';

/** A correct answer to a question about a text. */
export interface Answer {
  text: string;
  /** Index of its first character in the context, as JavaScript counts (UTF-16); absent where the data do not say. */
  start?: number;
}

/** The input of one example has at least one of `text`, `inputIds`, `image`, `words`, or `question` with `context`. */
export interface DataRecord {
  text?: string;
  textPair?: string;
  /** Ready-made token ids, at least one; they take precedence over `text`. */
  inputIds?: number[];
  /** The path of an image file, the bytes of one, or decoded pixels. */
  image?: string | Uint8Array | RawImage;
  /** The words of a text whose every word has a label in `labels`. */
  words?: string[];
  question?: string;
  context?: string;
  /** A class index or regression target (number), or a class name (string). */
  label?: number | string;
  /** Class indexes or names, one a word (or one a token with `inputIds`). */
  labels?: (number | string)[];
  /** The token ids to answer with, or -100 where no loss is wanted. */
  labelIds?: number[];
  /** The text to answer with. */
  target?: string;
  /** Correct answers to `question`, at least one. */
  answers?: Answer[];
  /** Name of the record. */
  id?: string;
  /** Number of the record in its data set. */
  idx?: number;
  /** Line of the file on which the record starts, from 1; the record's number where a format has no lines. */
  line: number;
}
