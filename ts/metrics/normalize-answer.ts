// Python's idea of white space (str.split), which is not that of JavaScript's \s.
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
// string.punctuation.
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
// \b of Python knows all letters and digits.
const ARTICLE = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

/**
 * The tokens of an answer as SQuAD v1.1's official script compares them: lower case, without ASCII punctuation, without the articles
 * a, an and the, split at white space.
 */
export function answerTokens(text: string): string[] {
  const words = text.toLowerCase().replace(PUNCTUATION, '').replace(ARTICLE, ' ');
  return words.split(SPACE).filter((word) => word !== '');
}

/** The normalised answer: its tokens with one space between them. */
export function normalizeAnswer(text: string): string {
  return answerTokens(text).join(' ');
}
