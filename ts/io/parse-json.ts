import { DeftuneError } from '../error.js';
import { jsonErrorOffset } from './json-error-offset.js';
import { showValue } from './show-value.js';

/**
 * JSON.parse whose error names the place.
 *
 * @param text the document
 * @param name the file's name, for messages
 * @param firstLine number of the text's first line in that file; default 1
 * @throws DeftuneError `name:line:column: invalid JSON, unexpected …`
 */
export function parseJson(text: string, name: string, firstLine = 1): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const offset = jsonErrorOffset(text);
    const before = text.slice(0, offset).split('\n');
    const line = firstLine + before.length - 1;
    const column = (before.at(-1) ?? '').length + 1;
    const found =
      offset >= text.length ? 'the text ends too early' : `unexpected ${showValue(text.slice(offset, offset + 12))}`;
    throw new DeftuneError(`${name}:${line}:${column}: invalid JSON, ${found}`, { cause });
  }
}
