import { z } from 'zod';
import { fromByteCharacters } from './byte-characters.js';
import { buildComponent, buildComponents, readFields, type ComponentBuilder } from './component.js';
import { patternField, patternOf } from './pattern.js';

/** Turns tokens back into pieces of text, to be joined. */
export type Decoder = (tokens: string[]) => string[];

/** Builds the `decoder` of tokenizer.json. @throws DeftuneError for one that is unknown or ill-formed. */
export function buildDecoder(json: unknown, where: string): Decoder {
  return buildComponent(DECODERS, json, where);
}

const DECODERS: Readonly<Record<string, ComponentBuilder<Decoder>>> = {
  BPEDecoder: (json, where) => {
    const { suffix } = readFields(z.object({ suffix: z.string().default('</w>') }), json, where);
    return (tokens) => tokens.map((token, index) => token.replaceAll(suffix, index === tokens.length - 1 ? '' : ' '));
  },
  ByteFallback: () => joinByteTokens,
  ByteLevel: () => (tokens) => {
    const bytes = tokens.map(fromByteCharacters);
    const all = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of bytes) {
      all.set(part, at);
      at += part.length;
    }
    return [new TextDecoder('utf-8', { ignoreBOM: true }).decode(all)];
  },
  CTC: (json, where) => {
    const schema = z.object({ pad_token: z.string(), word_delimiter_token: z.string(), cleanup: z.boolean() });
    const { pad_token, word_delimiter_token, cleanup } = readFields(schema, json, where);
    return (tokens) =>
      tokens
        .filter((token, index) => token !== tokens[index - 1])
        .map((token) => token.replaceAll(pad_token, ''))
        .map((token) => (cleanup ? cleanUpPiece(token).replaceAll(word_delimiter_token, ' ') : token))
        .filter((token) => token !== '');
  },
  Fuse: () => (tokens) => [tokens.join('')],
  Metaspace: (json, where) => {
    const schema = z.object({
      replacement: z.string(),
      add_prefix_space: z.boolean().nullish(),
      prepend_scheme: z.enum(['always', 'first', 'never']).default('always'),
    });
    const { replacement, add_prefix_space, prepend_scheme } = readFields(schema, json, where);
    const isPrepended = add_prefix_space !== false && prepend_scheme !== 'never';
    return (tokens) =>
      tokens.map((token, index) => token.replaceAll(replacement, isPrepended && index === 0 ? '' : ' '));
  },
  Replace: (json, where) => {
    const { pattern, content } = readFields(z.object({ pattern: patternField, content: z.string() }), json, where);
    const regex = patternOf(pattern, `${where}.pattern`);
    return (tokens) => tokens.map((token) => token.replace(regex, () => content));
  },
  Sequence: (json, where) => {
    const parts = buildComponents(DECODERS, json['decoders'], `${where}.decoders`);
    return (tokens) => parts.reduce((result, part) => part(result), tokens);
  },
  Strip: (json, where) => {
    const schema = z.object({ content: z.string(), start: z.number(), stop: z.number() });
    const { content, start, stop } = readFields(schema, json, where);
    return (tokens) => tokens.map((token) => strip([...token], content, start, stop));
  },
  WordPiece: (json, where) => {
    const schema = z.object({ prefix: z.string().default('##'), cleanup: z.boolean().default(true) });
    const { prefix, cleanup } = readFields(schema, json, where);
    return (tokens) =>
      tokens.map((token, index) => {
        let piece = token;
        if (index > 0) piece = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
        return cleanup ? cleanUpPiece(piece) : piece;
      });
  },
};

/** Joins tokens such as <0xE2> to the text that their bytes are in UTF-8; where they are none, each becomes U+FFFD. */
function joinByteTokens(tokens: string[]): string[] {
  const pieces: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    try {
      pieces.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      pieces.push(...bytes.map(() => '\ufffd'));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9a-fA-F]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      pieces.push(token);
    }
  }
  flush();
  return pieces;
}

function strip(chars: string[], content: string, start: number, stop: number): string {
  let from = 0;
  while (from < Math.min(start, chars.length) && chars[from] === content) from += 1;
  let to = chars.length;
  while (chars.length - to < stop && to > from && chars[to - 1] === content) to -= 1;
  return chars.slice(from, to).join('');
}

/** Takes out the spaces that cutting English at punctuation and contractions put in, as transformers' `clean_up_tokenization` does. */
export function cleanUpSpaces(text: string): string {
  return text
    .replace(/ ([.?!,])/g, '$1')
    .replaceAll(" ' ", "'")
    .replace(/ (n't|'m|'s|'ve|'re)/g, '$1');
}

/** The same by the tokenizers library, piece by piece. */
function cleanUpPiece(piece: string): string {
  return cleanUpSpaces(piece).replaceAll(' do not', " don't");
}
