import { join } from 'node:path';
import { DeftuneError } from '../error.js';
import { fileExists, readJson, readText } from '../io/files-node.js';
import { resolveModelDirectory, type HubOptions } from '../io/hub/resolve-model-directory-node.js';
import { showValue } from '../io/show-value.js';
import { Tokenizer } from './tokenizer.js';
import { tokenizerFromMerges, tokenizerFromVocabTxt, type MadeTokenizer } from './tokenization/vocabulary-files.js';

/** Loads the tokenizer of a model. */
export class AutoTokenizer {
  /**
   * Reads `tokenizer.json`, or `vocab.txt` (BERT), or `vocab.json` and `merges.txt` (RoBERTa, GPT-2); and, if present,
   * `tokenizer_config.json` and `special_tokens_map.json`.
   *
   * @param nameOrPath a model directory, or a repository such as `google-bert/bert-base-uncased`, which is downloaded
   * @throws DeftuneError when there is none of these, a file is invalid, or there is nothing to download
   */
  static async fromPretrained(nameOrPath: string, options: HubOptions = {}): Promise<Tokenizer> {
    const dir = await resolveModelDirectory(nameOrPath, ['tokenizer'], options);
    const path = join(dir, 'tokenizer.json');
    // Older files name the special tokens in the map alone.
    const config = { ...readOptional(dir, 'special_tokens_map.json'), ...readOptional(dir, 'tokenizer_config.json') };
    if (fileExists(path)) return Tokenizer.fromJson(readJson(path), config, path);
    const made = fromVocabulary(dir, config);
    if (made) return Tokenizer.fromJson(made[0].tokenizer, made[0].config, made[1]);
    const what = fileExists(dir) ? 'tokenizer.json is missing' : 'no such folder';
    const sentencePiece = ['spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model'].find((name) =>
      fileExists(join(dir, name)),
    );
    const advice = sentencePiece
      ? `; ${sentencePiece} cannot be read, save the tokenizer with transformers to get a tokenizer.json`
      : '';
    throw new DeftuneError(
      `${dir}: ${what}, expected a model folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt${advice}`,
    );
  }

  /** Whether a folder has the files of a tokenizer. */
  static isIn(dir: string): boolean {
    const has = (name: string): boolean => fileExists(join(dir, name));
    return has('tokenizer.json') || has('vocab.txt') || (has('vocab.json') && has('merges.txt'));
  }
}

function fromVocabulary(dir: string, tokenizerConfig: Record<string, unknown>): [MadeTokenizer, string] | undefined {
  const vocabJson = join(dir, 'vocab.json');
  const merges = join(dir, 'merges.txt');
  if (fileExists(vocabJson) && fileExists(merges)) {
    const modelType = readOptional(dir, 'config.json')['model_type'];
    const settings = {
      tokenizerConfig,
      modelType: typeof modelType === 'string' ? modelType : undefined,
      name: vocabJson,
    };
    return [tokenizerFromMerges(readJson(vocabJson), readText(merges), settings), vocabJson];
  }
  const vocabTxt = join(dir, 'vocab.txt');
  if (!fileExists(vocabTxt)) return undefined;
  return [tokenizerFromVocabTxt(readText(vocabTxt), { tokenizerConfig, name: vocabTxt }), vocabTxt];
}

function readOptional(dir: string, name: string): Record<string, unknown> {
  const path = join(dir, name);
  if (!fileExists(path)) return {};
  const value = readJson(path);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DeftuneError(`${path}: the file holds ${showValue(value)}, expected an object`);
}
