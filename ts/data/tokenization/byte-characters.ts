import type { AlignedText, CharChange } from './aligned-text.js';

/**
 * GPT-2's spelling of bytes as printable characters: those that are printable in Latin-1 stand for themselves, the others are
 * U+0100, U+0101, … in order (github.com/openai/gpt-2, src/encoder.py, bytes_to_unicode).
 */
const CHAR_OF_BYTE: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(isPrintable ? byte : next++);
  });
})();
const BYTE_OF_CHAR = new Map(CHAR_OF_BYTE.map((char, byte) => [char, byte]));

/** How a space is spelled. */
export const BYTE_SPACE = CHAR_OF_BYTE[0x20]!;

const encoder = new TextEncoder();
const ASCII = /^[\0-\x7f]*$/;

/** Replaces each character by those of its UTF-8 bytes. */
export function toByteCharacters(text: AlignedText): AlignedText {
  if (ASCII.test(text.text))
    return text.withText(text.text.replace(/[\0-\x20\x7f]/g, (c) => CHAR_OF_BYTE[c.charCodeAt(0)]!));
  const changes: CharChange[] = [];
  for (const char of text.text) {
    let change = 0;
    for (const byte of encoder.encode(char)) {
      changes.push([CHAR_OF_BYTE[byte]!, change]);
      change = 1;
    }
  }
  return text.transform(changes);
}

/** The bytes that a token's characters spell; those of its own UTF-8 when it has a character that spells none. */
export function fromByteCharacters(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of token) {
    const byte = BYTE_OF_CHAR.get(char);
    if (byte === undefined) return encoder.encode(token);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
