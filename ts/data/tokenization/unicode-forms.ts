import type { AlignedText, CharChange } from './aligned-text.js';
import { INERT } from './unicode-classes.js';

/** Unicode's normalization forms. */
export type UnicodeForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

/** Whole words and sentences of ASCII are in every form. */
const ASCII = /^[\0-\x7f]*$/;
const INERT_CHAR = new RegExp(`[${INERT}]`, 'v');

/** Normalizes to a form (Unicode 9, as the reference does), keeping the alignment as the reference counts it. */
export function normalizeForm(text: AlignedText, form: UnicodeForm): AlignedText {
  if (ASCII.test(text.text)) return text;
  const decomposed = decompose(text.text, form === 'NFC' || form === 'NFD' ? 'NFD' : 'NFKD');
  return text.transform(form === 'NFD' || form === 'NFKD' ? decomposed : compose(decomposed));
}

/** Decomposes each character and brings runs of marks into canonical order (Unicode standard, 3.11). */
function decompose(text: string, form: 'NFD' | 'NFKD'): CharChange[] {
  const result: CharChange[] = [];
  let marks: CharChange[] = [];
  const flush = (): void => {
    if (marks.length > 1) marks = reorder(marks);
    result.push(...marks);
    marks = [];
  };
  for (const char of text) {
    let change = 0;
    const parts = char <= '\x7f' || INERT_CHAR.test(char) ? char : char.normalize(form);
    for (const part of parts) {
      if (isStarter(part)) {
        flush();
        result.push([part, change]);
      } else marks.push([part, change]);
      change = 1;
    }
  }
  flush();
  return result;
}

/** The order comes from the engine; a mark keeps its change, and equal marks their order. */
function reorder(marks: readonly CharChange[]): CharChange[] {
  const left = [...marks];
  const ordered = [
    ...marks
      .map(([char]) => char)
      .join('')
      .normalize('NFD'),
  ];
  return ordered.map(
    (char) =>
      left.splice(
        left.findIndex(([mark]) => mark === char),
        1,
      )[0]!,
  );
}

/** Canonical composition (Unicode standard, 3.11); a composed character adds up the changes of its parts, less one each. */
function compose(chars: readonly CharChange[]): CharChange[] {
  const result: CharChange[] = [];
  let starter: [string, number] | undefined;
  let marks: CharChange[] = [];
  const flush = (): void => {
    if (starter) result.push(starter);
    result.push(...marks);
    marks = [];
  };
  for (const [char, change] of chars) {
    const isMark = !isStarter(char);
    const last = marks.at(-1)?.[0];
    // A mark is blocked by one of its own class before it, a starter by any mark.
    const isBlocked = last !== undefined && (!isMark || !precedes(last, char));
    const composed = starter && !isBlocked ? pair(starter[0], char) : undefined;
    if (starter && composed !== undefined) starter = [composed, starter[1] + change - 1];
    else if (isMark && starter) marks.push([char, change]);
    else if (isMark) result.push([char, change]);
    else {
      flush();
      starter = [char, change];
    }
  }
  flush();
  return result;
}

/** The character that two compose to, if there is one. */
function pair(first: string, second: string): string | undefined {
  if (INERT_CHAR.test(first) || INERT_CHAR.test(second)) return undefined;
  const whole = (first + second).normalize('NFC');
  return whole.length === (whole.codePointAt(0)! > 0xffff ? 2 : 1) ? whole : undefined;
}

const starters = new Map<string, boolean>();

/** Whether a character's combining class is 0: the engine never moves it past a mark of the lowest or the highest class. */
function isStarter(char: string): boolean {
  if (char <= '\u02ff') return true;
  let known = starters.get(char);
  if (known === undefined) {
    const [low, high] = ['\u0334', '\u0345'];
    known = INERT_CHAR.test(char) || ((high + char).normalize('NFD').startsWith(high) && !isMoved(char, low));
    starters.set(char, known);
  }
  return known;
}

function isMoved(char: string, before: string): boolean {
  return (char + before).normalize('NFD').startsWith(before);
}

/** Whether the combining class of mark `first` is below that of mark `second`. */
function precedes(first: string, second: string): boolean {
  return (second + first).normalize('NFD') !== second + first;
}
