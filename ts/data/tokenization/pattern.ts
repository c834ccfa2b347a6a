import { z } from 'zod';
import { DeftuneError } from '../../error.js';
import { showValue } from '../../io/show-value.js';
import { LETTER, NUMBER, WHITE_SPACE } from './unicode-classes.js';

/** How tokenizer.json states a pattern: `{"String": …}` or `{"Regex": …}`. */
export const patternField = z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]);

/**
 * A global regular expression for a pattern of tokenizer.json.
 *
 * @throws DeftuneError for an expression that JavaScript has no spelling for
 */
export function patternOf(pattern: z.infer<typeof patternField>, where: string): RegExp {
  if ('String' in pattern) return new RegExp(pattern.String.replace(SYNTAX, '\\$&'), 'gv');
  try {
    return new RegExp(toJavaScript(pattern.Regex), 'gv');
  } catch (cause) {
    throw new DeftuneError(`${where} is ${showValue(pattern.Regex)}, a regular expression that cannot be used here`, {
      cause,
    });
  }
}

const SYNTAX = /[\\^$.*+?()[\]{}|/]/g;
/** What a class of the flag `v` must not hold as it is. */
const CLASS_SYNTAX = /[$.*+?()[{}|/&!#%,:;<=>@`~]/;

/** What stands in a class for an escape that means something else, or only ASCII, in JavaScript. */
const CLASSES: Readonly<Record<string, string>> = {
  s: WHITE_SPACE,
  // Of the numerals that are no digits, Oniguruma has some and not others.
  w: `[${LETTER}][${NUMBER}]\\p{M}\\p{Pc}`,
  d: '\\p{Nd}',
  h: '0-9a-fA-F',
  'p{L}': `[${LETTER}]`,
  'p{N}': `[${NUMBER}]`,
};
const ANCHORS: Readonly<Record<string, string>> = { A: '^', z: '$', Z: '$' };

/** Rewrites what Oniguruma spells otherwise: `(?i:…)`, classes by their names, the text's ends, needless escapes. */
function toJavaScript(source: string): string {
  let result = '';
  let isClass = false;
  /** Whether case is ignored, for each group that is open. */
  const ignoresCase = [false];
  for (let i = 0; i < source.length; i++) {
    const char = source[i]!;
    const ahead = source.slice(i);
    if (char === '\\') {
      const name = /^\\([pP]\{\^?\w+\}|.)/su.exec(ahead)?.[1] ?? '';
      result += escape(name, isClass);
      i += name.length;
    } else if (isClass) {
      if (char === ']') isClass = false;
      result += withCases(CLASS_SYNTAX.test(char) ? `\\${char}` : char, ignoresCase.at(-1)!);
    } else if (char === '(') {
      const isInsensitive = ahead.startsWith('(?i:');
      ignoresCase.push(isInsensitive || ignoresCase.at(-1)!);
      const opening = isInsensitive ? '(?i:' : (/^\(\?(?:<?[=!]|[:>])/.exec(ahead)?.[0] ?? '(');
      result += isInsensitive ? '(?:' : opening;
      i += opening.length - 1;
    } else {
      if (char === ')') ignoresCase.pop();
      isClass = char === '[';
      // A first ] is no end, and a first ^ negates.
      const opening = isClass ? /^\[\^?\]?/.exec(ahead)![0] : '';
      const cases = withCases(char, ignoresCase.at(-1)!);
      result += isClass ? opening.replace(']', '\\]') : cases === char ? char : `[${cases}]`;
      i += Math.max(0, opening.length - 1);
    }
  }
  return result;
}

function withCases(char: string, ignoresCase: boolean): string {
  return ignoresCase && /[a-z]/i.test(char) ? char.toLowerCase() + char.toUpperCase() : char;
}

function escape(name: string, isClass: boolean): string {
  const meant = CLASSES[name];
  if (meant !== undefined) return isClass ? meant : `[${meant}]`;
  const excluded = CLASSES[name.toLowerCase()];
  if (excluded !== undefined && name.length === 1) return `[^${excluded}]`;
  const anchor = ANCHORS[name];
  if (anchor !== undefined) return anchor;
  // With the flag v, JavaScript lets only its syntax be escaped.
  const mayBeEscaped =
    /^(?:\w|[pP]\{.*\}|[\\^$.*+?()[\]{}|/])$/.test(name) || (isClass && (name === '-' || CLASS_SYNTAX.test(name)));
  return mayBeEscaped ? `\\${name}` : name;
}
