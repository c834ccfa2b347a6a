import { join } from 'node:path';
import { DeftuneError } from '../error.js';
import { fileExists, readJson } from '../io/files-node.js';
import { Tokenizer } from './tokenizer.js';

/** Loads the tokenizer of a model directory. */
export class AutoTokenizer {
  /**
   * Reads `dir/tokenizer.json` and, if present, `dir/tokenizer_config.json`.
   *
   * @throws DeftuneError when tokenizer.json is missing or either file is invalid
   */
  // Async although it need not be: loading may move off the main thread without changing callers.
  static async fromPretrained(dir: string): Promise<Tokenizer> {
    const path = join(dir, 'tokenizer.json');
    if (!fileExists(path)) {
      const what = fileExists(dir) ? 'tokenizer.json is missing' : 'no such folder';
      const old =
        fileExists(join(dir, 'vocab.txt')) || fileExists(join(dir, 'vocab.json'))
          ? '; save the slow tokenizer as a fast one first'
          : '';
      throw new DeftuneError(`${dir}: ${what}, expected a model folder with a tokenizer.json${old}`);
    }
    const config = join(dir, 'tokenizer_config.json');
    return Tokenizer.fromJson(readJson(path), fileExists(config) ? readJson(config) : {}, path);
  }
}
