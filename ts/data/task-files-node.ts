import { readdirSync } from 'node:fs';
import { DeftuneError } from '../error.js';
import { RECORD_ENDINGS } from './records-node.js';
import type { Task } from './tasks/index.js';

/** Where a task's records are. */
export interface TaskFiles {
  /** One file, several that follow one another, or a folder of images; empty if there is no training file. */
  train: string[];
  /** In the task's order; only the first is always there. */
  validation: { name: string; paths: string[] }[];
}

/**
 * Finds a task's files in the folder they were downloaded to: `NAME.tsv` and the other endings of records, Hugging Face's
 * `NAME-00000-of-00002.parquet`, numbered parts `NAME_1.bin`, or a folder called NAME.
 *
 * @param needs the sets without which the folder is refused
 * @throws DeftuneError naming the folder and what was looked for
 */
export function findTaskFiles(
  task: Task,
  dir: string,
  needs: readonly ('train' | 'validation')[] = ['train', 'validation'],
): TaskFiles {
  let entries: { name: string; isFolder: boolean }[];
  try {
    entries = readdirSync(dir, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isFolder: entry.isDirectory(),
    }));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT' ? 'no such folder' : code === 'ENOTDIR' ? 'it is a file, expected a folder' : String(cause);
    throw new DeftuneError(`${dir}: cannot read the files of ${task.name}: ${why}`, { cause });
  }
  const find = (files: readonly string[], needed: boolean): string[] => {
    const found = matches(dir, entries, files);
    if (found.length === 0 && needed) {
      const wanted = files.map((file) => `${file}.*`).join(' or ');
      throw new DeftuneError(
        `${dir}: no file of ${task.name} found, expected ${wanted} with one of the endings ${RECORD_ENDINGS.join(', ')}`,
      );
    }
    return found.map((name) => `${dir.replace(/(?<=.)[/\\]+$/, '')}/${name}`);
  };
  return {
    train: find(task.train, needs.includes('train')),
    validation: task.validation
      .map(({ name, files }, i) => ({ name, paths: find(files, i === 0 && needs.includes('validation')) }))
      .filter(({ paths }) => paths.length > 0),
  };
}

function matches(
  dir: string,
  entries: readonly { name: string; isFolder: boolean }[],
  files: readonly string[],
): string[] {
  for (const file of files) {
    for (const ending of RECORD_ENDINGS) {
      const part = new RegExp(`^${escape(file)}(-\\d{5}-of-\\d{5}|_\\d+)?\\.${ending}$`, 'i');
      const found = entries.filter(({ name, isFolder }) => !isFolder && part.test(name)).map(({ name }) => name);
      const whole = found.find((name) => name.length === file.length + 1 + ending.length);
      if (whole !== undefined) return [whole];
      if (found.length > 0) return inOrder(found, dir);
    }
    const folder = entries.find(({ name, isFolder }) => isFolder && name === file);
    if (folder) return [folder.name];
  }
  return [];
}

/** Parts by their number: `_10` after `_9`. */
function inOrder(names: string[], dir: string): string[] {
  const parts = Number(/-of-(\d{5})\./.exec(names[0] ?? '')?.[1] ?? names.length);
  if (names.length !== parts) {
    throw new DeftuneError(`${dir}: ${names.length} parts like ${names[0]} found, expected ${parts}`);
  }
  const number = (name: string): number => Number(/(\d+)(-of-\d+)?\.[^.]*$/.exec(name)?.[1] ?? 0);
  return names.sort((a, b) => number(a) - number(b));
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
