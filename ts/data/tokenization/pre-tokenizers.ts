import { z } from 'zod';
import type { AlignedText, Span } from './aligned-text.js';
import { BYTE_SPACE, toByteCharacters } from './byte-characters.js';
import { buildComponent, buildComponents, readFields, type ComponentBuilder } from './component.js';
import { patternField, patternOf } from './pattern.js';
import { LETTER, NUMBER, PUNCTUATION, WHITE_SPACE, WORD } from './unicode-classes.js';

/** Splits text into the words that the model sees one by one. */
export type PreTokenizer = (text: AlignedText) => AlignedText[];

/** Builds the `pre_tokenizer` of tokenizer.json. @throws DeftuneError for one that is unknown or ill-formed. */
export function buildPreTokenizer(json: unknown, where: string): PreTokenizer {
  return buildComponent(PRE_TOKENIZERS, json, where);
}

const behaviorField = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']);
type Behavior = z.infer<typeof behaviorField>;

const PRE_TOKENIZERS: Readonly<Record<string, ComponentBuilder<PreTokenizer>>> = {
  BertPreTokenizer: () => (text) => cut(text, matchesOf(text.text, BERT_WORD)),
  ByteLevel: (json, where) => {
    const fields = readFields(
      z.object({ add_prefix_space: z.boolean(), use_regex: z.boolean().default(true) }),
      json,
      where,
    );
    return (text) => {
      if (fields.add_prefix_space && !text.text.startsWith(' ')) text = text.prepend(' ');
      const words = fields.use_regex ? split(text, GPT2_WORD, 'Isolated') : [text];
      return words.map(toByteCharacters);
    };
  },
  CharDelimiterSplit: (json, where) => {
    const { delimiter } = readFields(z.object({ delimiter: z.string() }), json, where);
    const pattern = patternOf({ String: delimiter }, where);
    return (text) => split(text, pattern, 'Removed');
  },
  Digits: (json, where) => {
    const fields = readFields(z.object({ individual_digits: z.boolean().default(false) }), json, where);
    return (text) => split(text, NUMERIC, fields.individual_digits ? 'Isolated' : 'Contiguous');
  },
  Metaspace: buildMetaspace,
  Punctuation: (json, where) => {
    const { behavior } = readFields(z.object({ behavior: behaviorField.default('Isolated') }), json, where);
    return (text) => split(text, PUNCTUATION_MARK, behavior);
  },
  Sequence: (json, where) => {
    const parts = buildComponents(PRE_TOKENIZERS, json['pretokenizers'], `${where}.pretokenizers`);
    return (text) => parts.reduce<AlignedText[]>((pieces, part) => pieces.flatMap(part), [text]);
  },
  Split: (json, where) => {
    const schema = z.object({ pattern: patternField, behavior: behaviorField, invert: z.boolean().default(false) });
    const { pattern, behavior, invert } = readFields(schema, json, where);
    const regex = patternOf(pattern, `${where}.pattern`);
    return (text) => split(text, regex, behavior, invert);
  },
  Whitespace: () => (text) => cut(text, matchesOf(text.text, WORD_OR_SYMBOLS)),
  WhitespaceSplit: () => (text) => cut(text, matchesOf(text.text, NO_SPACE)),
};

const BERT_WORD = new RegExp(`[${PUNCTUATION}]|[^${WHITE_SPACE}[${PUNCTUATION}]]+`, 'gv');
const PUNCTUATION_MARK = new RegExp(`[${PUNCTUATION}]`, 'gv');
const NO_SPACE = new RegExp(`[^${WHITE_SPACE}]+`, 'gv');
const WORD_OR_SYMBOLS = new RegExp(`[${WORD}]+|[^[${WORD}]${WHITE_SPACE}]+`, 'gv');
/** Rust's char::is_numeric follows the newest Unicode, as JavaScript does. */
const NUMERIC = /\p{N}/gu;
/** GPT-2's words (github.com/openai/gpt-2, src/encoder.py). */
const GPT2_WORD = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?[${LETTER}]+| ?[${NUMBER}]+| ?[^${WHITE_SPACE}[${LETTER}][${NUMBER}]]+|` +
    `[${WHITE_SPACE}]+(?![^${WHITE_SPACE}])|[${WHITE_SPACE}]+`,
  'gv',
);

/** Whether the offsets of byte-level tokens leave out this character at their ends. */
export function isTrimmed(char: string): boolean {
  return char === BYTE_SPACE || ONE_SPACE.test(char);
}
const ONE_SPACE = new RegExp(`^[${WHITE_SPACE}]$`, 'v');

function buildMetaspace(json: Readonly<Record<string, unknown>>, where: string): PreTokenizer {
  const schema = z.object({
    replacement: z.string(),
    add_prefix_space: z.boolean().nullish(),
    prepend_scheme: z.enum(['always', 'first', 'never']).default('always'),
    split: z.boolean().nullish(),
  });
  const fields = readFields(schema, json, where);
  const scheme = fields.add_prefix_space === false ? 'never' : fields.prepend_scheme;
  const pattern = patternOf({ String: fields.replacement }, where);
  return (text) => {
    text = text.withText(text.text.replaceAll(' ', fields.replacement));
    const prepends = scheme === 'always' || (scheme === 'first' && text.origin === 0);
    if (prepends && !text.text.startsWith(fields.replacement)) text = text.prepend(fields.replacement);
    return fields.split === false ? [text] : split(text, pattern, 'MergedWithNext');
  };
}

function matchesOf(text: string, pattern: RegExp): Span[] {
  return Array.from(text.matchAll(pattern), (match): Span => [match.index, match.index + match[0].length]);
}

function cut(text: AlignedText, spans: readonly Span[]): AlignedText[] {
  return spans.filter(([start, end]) => start < end).map(([start, end]) => text.slice(start, end));
}

/** Splits at matches, which stay, go or join a neighbour, by the reference's `SplitDelimiterBehavior`. */
function split(text: AlignedText, pattern: RegExp, behavior: Behavior, invert = false): AlignedText[] {
  const parts: { start: number; end: number; isMatch: boolean }[] = [];
  let last = 0;
  const put = (end: number, isMatch: boolean): void => {
    if (last < end) parts.push({ start: last, end, isMatch: isMatch !== invert });
    last = end;
  };
  for (const [start, end] of matchesOf(text.text, pattern)) {
    put(start, false);
    put(end, true);
  }
  put(text.text.length, false);

  const joined: typeof parts = [];
  const isReversed = behavior === 'MergedWithNext';
  let wasMatch = false;
  for (const part of isReversed ? [...parts].reverse() : parts) {
    const neighbour = joined.at(-1);
    const joins =
      behavior === 'Contiguous'
        ? part.isMatch === wasMatch
        : behavior.startsWith('Merged') && part.isMatch && !wasMatch;
    wasMatch = part.isMatch;
    if (behavior === 'Removed' && part.isMatch) continue;
    if (neighbour && joins) {
      neighbour.start = Math.min(neighbour.start, part.start);
      neighbour.end = Math.max(neighbour.end, part.end);
    } else joined.push({ ...part });
  }
  if (isReversed) joined.reverse();
  return joined.map(({ start, end }) => text.slice(start, end));
}
