import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  fstatSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join, resolve } from 'node:path';
import { DeftuneError } from '../error.js';
import { decodeUtf8 } from './decode-utf8.js';
import type { Folder } from './folder.js';
import { parseJson } from './parse-json.js';

/** Largest single read or write: one system call moves less than 2 GiB. */
const CHUNK = 1 << 30;

/** A DeftuneError that says in plain words why a file cannot be read or written. */
export function explainFileError(path: string, action: string, cause: unknown): DeftuneError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const why =
    code === 'ENOENT'
      ? 'no such file or folder'
      : code === 'ENOTDIR'
        ? 'a part of its path is not a folder'
        : code === 'EACCES' || code === 'EPERM'
          ? 'permission denied'
          : code === 'EISDIR'
            ? 'it is a folder, expected a file'
            : code === 'EEXIST'
              ? 'it is a file, expected a folder'
              : code === 'EROFS'
                ? 'the file system is read-only'
                : code === 'ENOSPC'
                  ? 'no space left on the disk'
                  : cause instanceof Error
                    ? cause.message
                    : String(cause);
  return new DeftuneError(`${path}: cannot ${action}: ${why}`, { cause });
}

/** Whether something (file or folder) exists at `path`. Never throws. */
export function fileExists(path: string): boolean {
  return existsSync(path);
}

/**
 * Reads a whole file, also one of more than 2 GiB. The result owns its buffer from offset 0, so aligned
 * typed-array views can be made on it.
 *
 * @throws DeftuneError naming the path when it is missing, a folder or unreadable
 */
export function readBytes(path: string): Uint8Array {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw explainFileError(path, 'read', cause);
  }
  try {
    const stat = fstatSync(fd);
    if (stat.isDirectory()) throw Object.assign(new Error('is a folder'), { code: 'EISDIR' });
    const bytes = new Uint8Array(stat.size);
    let at = 0;
    while (at < bytes.length) {
      const got = readSync(fd, bytes, at, Math.min(CHUNK, bytes.length - at), null);
      // The file shrank while it was being read.
      if (got === 0) return bytes.slice(0, at);
      at += got;
    }
    return bytes;
  } catch (cause) {
    throw explainFileError(path, 'read', cause);
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads a UTF-8 text file; a leading byte order mark is dropped.
 *
 * @throws DeftuneError as readBytes does, and when the file is not UTF-8
 */
export function readText(path: string): string {
  return decodeUtf8(readBytes(path), path);
}

/** A folder on the disk; it need not exist. */
export function diskFolder(directory: string): Folder {
  const pathOf = (file: string): string => join(directory, file);
  return { name: directory, pathOf, has: (file) => fileExists(pathOf(file)), bytes: (file) => readBytes(pathOf(file)) };
}

/**
 * Reads a JSON file.
 *
 * @throws DeftuneError as readText does, and `path:line:column: invalid JSON …`
 */
export function readJson(path: string): unknown {
  return parseJson(readText(path), path);
}

/**
 * Fails early where {@link writeFileAtomic} would fail after long work; touches nothing.
 *
 * @throws DeftuneError naming the path when it is a folder, or its folder is missing or not writable
 */
export function checkOutputFile(path: string): void {
  try {
    if (existsSync(path) && statSync(path).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    const folder = dirname(resolve(path));
    if (!statSync(folder).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' });
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw explainFileError(path, 'write', cause);
  }
}

/**
 * Fails early where {@link writeFilesAtomic} would fail after long work; touches nothing.
 *
 * @throws DeftuneError naming the path when it, or a folder above it, is a file or not writable
 */
export function checkOutputFolder(path: string): void {
  let existing = resolve(path);
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    if (!statSync(existing).isDirectory()) throw new Error(`${existing} is a file, expected a folder`);
    accessSync(existing, constants.W_OK);
  } catch (cause) {
    throw explainFileError(path, 'write', cause);
  }
}

/**
 * Writes a file so that a reader sees the old content or the new, never a half: a temporary file in
 * the same folder is written, flushed to the disk and renamed over `path`. On failure the temporary
 * file is removed and `path` is untouched.
 *
 * @param data bytes, or text written as UTF-8
 * @throws DeftuneError naming the path when the folder is missing or not writable
 */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  try {
    commit([stage(path, data)]);
  } catch (cause) {
    throw explainFileError(path, 'write', cause);
  }
}

/**
 * Writes files that belong together: all are staged as {@link writeFileAtomic} does before the first is renamed into place. The
 * folder is made where it is missing, and is removed again on failure.
 *
 * @param files content by file name
 * @throws DeftuneError naming the folder that cannot be made or written to
 */
export function writeFilesAtomic(folder: string, files: ReadonlyMap<string, string | Uint8Array>): void {
  let made: string | undefined;
  const staged: Staged[] = [];
  try {
    made = mkdirSync(folder, { recursive: true });
    for (const [name, data] of files) staged.push(stage(join(folder, name), data));
    commit(staged);
  } catch (cause) {
    for (const { temporary } of staged) removeQuietly(temporary);
    if (made !== undefined) rmSync(made, { recursive: true, force: true });
    // Making a folder on a read-only disk says that there is none; this says why.
    checkOutputFolder(folder);
    throw explainFileError(folder, 'write', cause);
  }
}

/** Flushes a folder's entries to the disk, so that files renamed in it stay renamed. Does nothing where the system cannot. */
export function syncFolder(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    fsyncSync(fd);
  } catch {
    // Windows opens no folders; its file system keeps the order of renames by itself.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

interface Staged {
  temporary: string;
  path: string;
}

/** Writes `data` to a temporary file beside `path`. On failure nothing is left. */
function stage(path: string, data: string | Uint8Array): Staged {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  const fd = openSync(temporary, 'wx');
  try {
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, Math.min(CHUNK, bytes.length - at));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    removeQuietly(temporary);
    throw cause;
  }
  return { temporary, path };
}

/** Renames staged files into place. */
function commit(staged: readonly Staged[]): void {
  for (const { temporary, path } of staged) {
    try {
      renameSync(temporary, path);
    } catch (cause) {
      removeQuietly(temporary);
      throw cause;
    }
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The write's own error is the one to report.
  }
}
