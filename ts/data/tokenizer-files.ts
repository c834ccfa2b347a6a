import { DeftuneError } from '../error.js';
import { readFolderJson, readFolderText, type Folder } from '../io/folder.js';
import { showValue } from '../io/show-value.js';
import { Tokenizer } from './tokenizer.js';
import { tokenizerFromMerges, tokenizerFromVocabTxt, type MadeTokenizer } from './tokenization/vocabulary-files.js';

/** Whether a folder has the files of a tokenizer. */
export function hasTokenizer({ has }: Folder): boolean {
  return has('tokenizer.json') || has('vocab.txt') || (has('vocab.json') && has('merges.txt'));
}

/**
 * Reads `tokenizer.json`, or `vocab.txt` (BERT), or `vocab.json` and `merges.txt` (RoBERTa, GPT-2); and, if present,
 * `tokenizer_config.json` and `special_tokens_map.json`.
 *
 * @throws DeftuneError when there is none of these, or a file is invalid
 */
export function tokenizerIn(folder: Folder): Tokenizer {
  const file = 'tokenizer.json';
  // Older files name the special tokens in the map alone.
  const config = {
    ...readOptional(folder, 'special_tokens_map.json'),
    ...readOptional(folder, 'tokenizer_config.json'),
  };
  if (folder.has(file)) return Tokenizer.fromJson(readFolderJson(folder, file), config, folder.pathOf(file));
  const made = fromVocabulary(folder, config);
  if (made) return Tokenizer.fromJson(made[0].tokenizer, made[0].config, made[1]);
  const sentencePiece = ['spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model'].find((name) => folder.has(name));
  const advice = sentencePiece
    ? `; ${sentencePiece} cannot be read, save the tokenizer with transformers to get a tokenizer.json`
    : '';
  throw new DeftuneError(
    `${folder.name}: tokenizer.json is missing, expected a model folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt${advice}`,
  );
}

function fromVocabulary(folder: Folder, tokenizerConfig: Record<string, unknown>): [MadeTokenizer, string] | undefined {
  if (folder.has('vocab.json') && folder.has('merges.txt')) {
    const name = folder.pathOf('vocab.json');
    const modelType = readOptional(folder, 'config.json')['model_type'];
    const settings = { tokenizerConfig, modelType: typeof modelType === 'string' ? modelType : undefined, name };
    const vocabulary = readFolderJson(folder, 'vocab.json');
    return [tokenizerFromMerges(vocabulary, readFolderText(folder, 'merges.txt'), settings), name];
  }
  if (!folder.has('vocab.txt')) return undefined;
  const name = folder.pathOf('vocab.txt');
  return [tokenizerFromVocabTxt(readFolderText(folder, 'vocab.txt'), { tokenizerConfig, name }), name];
}

function readOptional(folder: Folder, file: string): Record<string, unknown> {
  if (!folder.has(file)) return {};
  const value = readFolderJson(folder, file);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DeftuneError(`${folder.pathOf(file)}: the file holds ${showValue(value)}, expected an object`);
}
