import { DeftuneError } from '../error.js';
import { decodeUtf8 } from './decode-utf8.js';
import { parseJson } from './parse-json.js';

/** A folder of files, on a disk or in memory: what readers of models, tokenizers and adapters ask for. */
export interface Folder {
  /** For messages. */
  readonly name: string;
  /** What a file is called in messages. */
  pathOf(file: string): string;
  has(file: string): boolean;
  /** @throws DeftuneError where there is no such file */
  bytes(file: string): Uint8Array;
}

/** Content of files by name. */
export type Files = ReadonlyMap<string, Uint8Array | string>;

/** A folder of files that are in memory. @param name default: none, files are called by their names alone */
export function memoryFolder(files: Files, name = ''): Folder {
  const pathOf = (file: string): string => (name === '' ? file : `${name}/${file}`);
  return {
    name: name === '' ? 'the files' : name,
    pathOf,
    has: (file) => files.has(file),
    bytes(file) {
      const content = files.get(file);
      if (content === undefined) {
        throw new DeftuneError(`${pathOf(file)} is missing, found ${[...files.keys()].sort().join(', ') || 'no file'}`);
      }
      return typeof content === 'string' ? new TextEncoder().encode(content) : content;
    },
  };
}

/** @throws DeftuneError naming the file that is missing or not UTF-8 */
export function readFolderText(folder: Folder, file: string): string {
  return decodeUtf8(folder.bytes(file), folder.pathOf(file));
}

/** @throws DeftuneError as {@link readFolderText}, and `path:line:column: invalid JSON …` */
export function readFolderJson(folder: Folder, file: string): unknown {
  return parseJson(readFolderText(folder, file), folder.pathOf(file));
}
