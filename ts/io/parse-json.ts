import { DeftuneError } from '../error.js';
import { jsonErrorOffset } from './json-error-offset.js';
import { repeatedKeyOffset } from './repeated-key-offset.js';
import { showValue } from './show-value.js';

/**
 * JSON.parse whose error names the place, and which refuses an object with the same key twice.
 *
 * @param text the document
 * @param name the file's name, for messages
 * @param firstLine number of the text's first line in that file; default 1
 * @throws DeftuneError `name:line:column: invalid JSON, unexpected …`, `name:line:column: key … appears twice …`
 */
export function parseJson(text: string, name: string, firstLine = 1): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const offset = jsonErrorOffset(text);
    const found =
      offset >= text.length ? 'the text ends too early' : `unexpected ${showValue(text.slice(offset, offset + 12))}`;
    throw new DeftuneError(`${place(text, offset, name, firstLine)}: invalid JSON, ${found}`, { cause });
  }
  const repeated = repeatedKeyOffset(text);
  if (repeated !== undefined) {
    const key = /^"(?:[^"\\]|\\.){0,80}/.exec(text.slice(repeated, repeated + 100))?.[0] ?? '"';
    throw new DeftuneError(
      `${place(text, repeated, name, firstLine)}: key ${key}" appears twice in one object, expected unique keys`,
    );
  }
  return value;
}

/** `name:line:column` of an offset. */
function place(text: string, offset: number, name: string, firstLine: number): string {
  const before = text.slice(0, offset).split('\n');
  const line = firstLine + before.length - 1;
  return `${name}:${line}:${(before.at(-1) ?? '').length + 1}`;
}
