import { buildComponent, type ComponentBuilder } from '../component.js';
import { BytePairEncoding } from './byte-pair-encoding.js';
import type { TokenModel } from './token-model.js';
import { Unigram } from './unigram.js';
import { WordLevel } from './word-level.js';
import { WordPiece } from './word-piece.js';

const MODELS: Readonly<Record<string, ComponentBuilder<TokenModel>>> = {
  BPE: (json, where) => new BytePairEncoding(json, where),
  Unigram: (json, where) => new Unigram(json, where),
  WordLevel: (json, where) => new WordLevel(json, where),
  WordPiece: (json, where) => new WordPiece(json, where),
};

/** Builds the `model` of tokenizer.json. @throws DeftuneError for one that is unknown or ill-formed. */
export function buildTokenModel(json: unknown, where: string): TokenModel {
  return buildComponent(MODELS, withType(json), where);
}

/** Files of before 2020 leave the type out; the fields tell. */
function withType(json: unknown): unknown {
  if (typeof json !== 'object' || json === null || 'type' in json) return json;
  const type =
    'merges' in json
      ? 'BPE'
      : 'unk_id' in json
        ? 'Unigram'
        : 'max_input_chars_per_word' in json
          ? 'WordPiece'
          : 'WordLevel';
  return { ...json, type };
}
