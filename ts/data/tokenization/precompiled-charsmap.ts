import { DeftuneError } from '../../error.js';
import type { AlignedText, CharChange } from './aligned-text.js';

/** UTF-16 units given to the segmenter at once. */
const STRETCH = 256;

/**
 * SentencePiece's compiled normalization rules: a double-array trie from UTF-8 to offsets in a blob of zero-terminated replacements
 * (github.com/google/sentencepiece, src/normalizer.cc; the trie is darts-clone's).
 */
export class PrecompiledCharsmap {
  readonly #trie: Uint32Array;
  readonly #replacements: Uint8Array;
  readonly #known = new Map<string, string | undefined>();
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

  /** @param base64 `precompiled_charsmap` of tokenizer.json */
  constructor(base64: string, where: string) {
    const broken = (cause?: unknown): DeftuneError =>
      new DeftuneError(`${where}.precompiled_charsmap is not a compiled SentencePiece character map`, { cause });
    let bytes: Uint8Array;
    try {
      bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    } catch (cause) {
      throw broken(cause);
    }
    const view = new DataView(bytes.buffer);
    const size = bytes.length >= 4 ? view.getUint32(0, true) : 0;
    if (size === 0 || size % 4 !== 0 || size > bytes.length - 4) throw broken();
    this.#trie = Uint32Array.from({ length: size / 4 }, (_, index) => view.getUint32(4 + index * 4, true));
    this.#replacements = bytes.subarray(4 + size);
  }

  /** Replaces, by the reference's rule, each short grapheme cluster that has an entry, else each character that has one. */
  normalize(text: AlignedText): AlignedText {
    const changes: [string, number][] = [];
    let isChanged = false;
    const put = (old: string, replacement: string): void => {
      isChanged = true;
      const extra = [...replacement].length - [...old].length;
      changes.push(...[...replacement].map((char): [string, number] => [char, 0]));
      // Counted over everything so far: after a shortening, what it lost is charged to whatever stands last.
      for (let i = 1; i <= extra && i <= changes.length; i++) changes[changes.length - i]![1] = 1;
      const last = changes.at(-1);
      if (extra < 0 && last) last[1] += extra;
    };
    for (const segment of this.#graphemesOf(text.text)) {
      // UTF-8 of fewer than six bytes.
      const whole = utf8Length(segment) < 6 ? this.#replacementOf(segment) : undefined;
      if (whole !== undefined) {
        put(segment, whole);
        continue;
      }
      for (const char of segment) {
        const replacement = this.#replacementOf(char);
        if (replacement === undefined) changes.push([char, 0]);
        else put(char, replacement);
      }
    }
    return isChanged ? text.transform(changes as CharChange[]) : text;
  }

  /** Grapheme clusters, a stretch at a time: engines take time in the square of what a segmenter is given. */
  *#graphemesOf(text: string): Generator<string> {
    for (let at = 0, size = STRETCH; at < text.length;) {
      let end = Math.min(at + size, text.length);
      if (/[\ud800-\udbff]/.test(text.charAt(end - 1))) end += 1;
      const clusters = Array.from(this.#graphemes.segment(text.slice(at, end)), ({ segment }) => segment);
      // The last one may go on; a cluster does not depend on those before it.
      if (end < text.length) clusters.pop();
      for (const cluster of clusters) {
        yield cluster;
        at += cluster.length;
      }
      size = clusters.length > 0 ? STRETCH : 2 * size;
    }
  }

  #replacementOf(part: string): string | undefined {
    if (this.#known.has(part)) return this.#known.get(part);
    const found = this.#search(new TextEncoder().encode(part));
    let replacement: string | undefined;
    if (found !== undefined) {
      const end = this.#replacements.indexOf(0, found);
      replacement = new TextDecoder().decode(this.#replacements.subarray(found, end < 0 ? undefined : end));
    }
    this.#known.set(part, replacement);
    return replacement;
  }

  /** Value of the shortest prefix of `key` that the trie holds. */
  #search(key: Uint8Array): number | undefined {
    let at = offsetOf(this.#trie[0]!);
    for (const byte of key) {
      if (byte === 0) return undefined;
      at ^= byte;
      const unit = this.#trie[at];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
      at ^= offsetOf(unit);
      if ((unit >>> 8) & 1) return (this.#trie[at] ?? 0) & 0x7fffffff;
    }
    return undefined;
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}
