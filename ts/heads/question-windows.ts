import type { Example } from '../data/batching.js';
import type { Answer, DataRecord } from '../data/record.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { checkIds } from './encode-text.js';
import type { ExampleContext } from './head.js';

/** Tokens of a window, question and context together, and tokens that two windows share: the defaults of transformers' run_qa.py. */
const MAX_LENGTH = 384;
const STRIDE = 128;

/** What the windows of one record share; its identity says which belong together. */
export interface Question {
  /** Correct answers; undefined where the record has none. */
  answers: readonly string[] | undefined;
}

/** A question with a part of its context. */
export interface QuestionWindow extends Example {
  question: Question;
  /** Tokens that may answer. */
  isContext: readonly boolean[];
  /** What the tokens from `start` to `end` (included) say, and the fields of a prediction. */
  answer(start: number, end: number): { text: string; fields: Readonly<Record<string, unknown>> };
  /** Fields of a prediction where no span fits. */
  noAnswer: Readonly<Record<string, unknown>>;
}

/**
 * The windows of a record with question and context, labelled as run_qa.py does: with the first answer's first and last token, or the
 * first token of all (`[CLS]`) where the window does not hold it.
 *
 * @throws DeftuneError where there is no tokenizer, an answer is not in the context, or the question leaves no room for it.
 */
export function questionWindows(record: DataRecord, context: ExampleContext): QuestionWindow[] {
  const { tokenizer, info, where } = context;
  if (!tokenizer) throw new DeftuneError(`${where}: question needs a tokenizer, but the model's directory has none`);
  const { question: asked = '', context: passage = '', answers } = record;
  const maxLength = Math.min(MAX_LENGTH, info.maxLength);
  const windows = named(where, () =>
    // Blanks before a question would become tokens of byte-level vocabularies.
    tokenizer.encodeWindows(asked.trimStart(), {
      textPair: passage,
      truncation: 'only-second',
      maxLength,
      stride: Math.min(STRIDE, Math.floor(maxLength / 3)),
    }),
  );
  const question: Question = { answers: answers?.map(({ text }) => text) };
  const span = answers?.[0] && place(answers[0], passage, where);
  return windows.map(({ inputIds, tokenTypeIds, offsets, sequenceIds }) => {
    checkIds(inputIds, 'inputIds', info.vocabSize, where);
    const isContext = sequenceIds.map((sequence) => sequence === 1);
    return {
      inputIds,
      tokenTypeIds,
      labelIds: span && tokensOf(span, offsets, isContext),
      question,
      isContext,
      answer(first: number, last: number) {
        const end = offsets[last]?.[1] ?? 0;
        // A byte-level token may begin with the space before its word.
        const text = passage.slice(offsets[first]?.[0], end).trimStart();
        return { text, fields: { answer: text, start: end - text.length, end } };
      },
      noAnswer: { answer: '' },
    };
  });
}

/** Where an answer stands in the context, in UTF-16 units. */
function place({ text, start }: Answer, passage: string, where: string): readonly [start: number, end: number] {
  const at = start ?? passage.indexOf(text);
  if (at >= 0) return [at, at + text.length];
  throw new DeftuneError(`${where}: answers has ${showValue(text)}, expected a part of the context`);
}

/** First and last token of a span of characters; [0, 0] where it is not in the window. */
function tokensOf(
  [start, end]: readonly [number, number],
  offsets: readonly (readonly [number, number])[],
  isContext: readonly boolean[],
): [number, number] {
  const tokens = [...offsets.keys()].filter((token) => isContext[token]);
  const [first, last] = [tokens[0], tokens.at(-1)];
  if (first === undefined || last === undefined) return [0, 0];
  if ((offsets[first]?.[0] ?? 0) > start || (offsets[last]?.[1] ?? 0) < end) return [0, 0];
  // The last token that starts at or before the answer, and the first that ends at or after it.
  const from = tokens.filter((token) => (offsets[token]?.[0] ?? 0) <= start).at(-1) ?? 0;
  const to = tokens.find((token) => (offsets[token]?.[1] ?? 0) >= end) ?? 0;
  return [from, to];
}

/** Adds the record's place to an error of the tokenizer. */
function named<T>(where: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof DeftuneError) throw new DeftuneError(`${where}: ${error.message}`, { cause: error });
    throw error;
  }
}
