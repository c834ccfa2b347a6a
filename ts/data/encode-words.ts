import type { EncodedText, Tokenizer } from './tokenizer.js';

/** An encoded text whose words are known. */
export interface EncodedWords extends EncodedText {
  /** Number of the word that each token belongs to; undefined for special tokens. */
  wordIds: (number | undefined)[];
}

/**
 * Encodes words as the text that they make with single spaces between them. For vocabularies that split at white space first this is
 * what transformers makes of `is_split_into_words`.
 *
 * @param words at least one, none empty
 * @throws DeftuneError as `Tokenizer.encode` does
 */
export function encodeWords(tokenizer: Tokenizer, words: readonly string[], maxLength: number): EncodedWords {
  const text = words.join(' ');
  /** Word of each UTF-16 unit of the text; a space belongs to the word before it. */
  const wordAt = words.flatMap((word, index) => new Array<number>(word.length + 1).fill(index));
  const encoded = tokenizer.encode(text, { maxLength });
  const wordIds = encoded.offsets.map(([, end], token) =>
    // By its last character: a byte-level token may begin with the space before its word.
    encoded.sequenceIds[token] === null ? undefined : wordAt[end - 1],
  );
  return { ...encoded, wordIds };
}
