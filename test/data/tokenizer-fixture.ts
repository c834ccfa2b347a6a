import { readFileSync } from 'node:fs';
import type { Truncation } from '../../ts/data/tokenizer.js';

type Edges = number[];
/** Number of the text, ids, starts and ends, and what they decode to: ids, text, text without special tokens. */
type Single = [text: number, ids: number[], edges: Edges, decoded: [number[], string, string] | null];
/** Texts by number, and the windows: ids, types, offsets and sequence ids; null where the reference refuses. */
interface Pair {
  text: number;
  pair: number | null;
  maxLength: number | null;
  stride: number;
  truncation: Truncation;
  windows: unknown[][] | null;
}
export interface Cases {
  vocabSize: number;
  singles: Single[];
  pairs: Pair[];
}
interface Folder {
  files: Record<string, string>;
  vocabulary: string;
  vocabSize: number;
  special: Record<'bos' | 'eos' | 'unk' | 'sep' | 'cls' | 'mask', number | null>;
  cases: [ids: number[], types: number[], edges: Edges, decoded: string][];
}
/** Made by test/fixtures/make_tokenizers.py with the reference implementation. */
export const fixture = JSON.parse(readFileSync(new URL('./tokenizers.json', import.meta.url), 'utf8')) as {
  texts: string[];
  small: Record<string, Cases & { tokenizer: unknown }>;
  models: Record<string, Cases>;
  vocabularyFiles: { files: Record<string, Record<string, string>>; folders: Record<string, Folder> };
};
export const { texts } = fixture;
