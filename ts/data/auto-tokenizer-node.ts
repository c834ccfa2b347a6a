import { DeftuneError } from '../error.js';
import { diskFolder, fileExists } from '../io/files-node.js';
import { resolveModelDirectory, type HubOptions } from '../io/hub/resolve-model-directory-node.js';
import { hasTokenizer, tokenizerIn } from './tokenizer-files.js';
import type { Tokenizer } from './tokenizer.js';

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
    if (fileExists(dir)) return tokenizerIn(diskFolder(dir));
    throw new DeftuneError(
      `${dir}: no such folder, expected a model folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt`,
    );
  }

  /** Whether a folder has the files of a tokenizer. */
  static isIn(dir: string): boolean {
    return hasTokenizer(diskFolder(dir));
  }
}
