import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { Answer } from './record.js';

/**
 * Reads the answers of a question: SQuAD's list of `{text, answer_start}`, Hugging Face's `{text: [], answer_start: []}`, a list of
 * texts, or one text. Starts are counted in code points, as Python does.
 *
 * @param name of the field, for messages
 * @param start of the answer, where `value` is one text
 * @param context the text that starts refer to; an answer that is not where its start says is an error
 * @returns undefined for an empty list, which is how test sets without answers are written
 * @throws DeftuneError `place: field …`
 */
export function toAnswers(
  name: string,
  value: unknown,
  start: unknown,
  context: string | undefined,
  place: string,
): Answer[] | undefined {
  const pairs = toPairs(name, value, start, place);
  if (pairs.length === 0) return undefined;
  return pairs.map(([text, at], i) => {
    const field = Array.isArray(value) ? `${name}[${i}]` : typeof value === 'string' ? name : `${name}.text[${i}]`;
    if (typeof text !== 'string') throw new DeftuneError(`${place}: ${field} is ${showValue(text)}, expected a text`);
    if (at === undefined || at === null || at === '') return { text };
    const number = typeof at === 'string' && /^\s*\d+\s*$/.test(at) ? Number(at) : at;
    if (!Number.isSafeInteger(number) || (number as number) < 0) {
      throw new DeftuneError(
        `${place}: answer_start of ${field} is ${showValue(at)}, expected a whole number of at least 0`,
      );
    }
    if (context === undefined) return { text, start: number as number };
    const index = codeUnitOf(context, number as number);
    if (!context.startsWith(text, index)) {
      const there = context.slice(index, index + text.length);
      throw new DeftuneError(
        `${place}: ${field} is ${showValue(text)}, but at its answer_start ${String(number)} the context has ${showValue(there)}, expected the answer there`,
      );
    }
    return { text, start: index };
  });
}

type Pair = [text: unknown, start: unknown];

function toPairs(name: string, value: unknown, start: unknown, place: string): Pair[] {
  if (typeof value === 'string') return [[value, start]];
  if (Array.isArray(value)) {
    return value.map((item: unknown): Pair => {
      if (typeof item !== 'object' || item === null) return [item, undefined];
      const answer = item as { text?: unknown; answer_start?: unknown };
      return [answer.text, answer.answer_start];
    });
  }
  const { text, answer_start: starts } = value as { text?: unknown; answer_start?: unknown };
  if (!Array.isArray(text)) {
    throw new DeftuneError(
      `${place}: ${name} is ${showValue(value)}, expected {"text": [...], "answer_start": [...]} or a list of texts`,
    );
  }
  if (starts === undefined || starts === null) return text.map((item: unknown): Pair => [item, undefined]);
  if (!Array.isArray(starts) || starts.length !== text.length) {
    throw new DeftuneError(
      `${place}: ${name}.answer_start is ${showValue(starts)}, expected ${text.length} numbers, one for each text`,
    );
  }
  return text.map((item: unknown, i): Pair => [item, starts[i]]);
}

/** Index into the UTF-16 string of its code point number `codePoint`; its length if there are fewer. */
function codeUnitOf(text: string, codePoint: number): number {
  if (!/[\ud800-\udfff]/.test(text)) return Math.min(codePoint, text.length);
  let index = 0;
  for (let i = 0; i < codePoint && index < text.length; i++) index += text.codePointAt(index)! > 0xffff ? 2 : 1;
  return index;
}
