import { DeftuneError } from '../error.js';

/** Bytes of a text file as text; a leading byte order mark is dropped. @throws DeftuneError naming the file that is not UTF-8 */
export function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DeftuneError(`${path}: expected UTF-8 text, found other bytes`, { cause });
  }
}
