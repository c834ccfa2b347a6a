import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { explainFileError, writeFileAtomic } from '../files-node.js';

const COMMIT = /^[0-9a-f]{40}$/;

/**
 * The cached files of one repository, as huggingface_hub lays them out, so that Python and we share them: `blobs/HASH` the contents,
 * `snapshots/COMMIT/FILE` links to them, `refs/REVISION` the commit of a branch or tag.
 */
export class HubCache {
  readonly #folder: string;

  constructor(cacheDir: string, repository: string) {
    this.#folder = join(cacheDir, `models--${repository.replace('/', '--')}`);
  }

  /** Where the content with a hash belongs. */
  blobPath(hash: string): string {
    return join(this.#folder, 'blobs', hash);
  }

  /** The folder of a commit's files, whether it is there or not. */
  snapshotPath(commit: string): string {
    return join(this.#folder, 'snapshots', commit);
  }

  /** The commit that a revision (branch, tag, `refs/pr/1` or commit) was when last asked; undefined if it never was. */
  commitOf(revision: string): string | undefined {
    if (COMMIT.test(revision)) return revision;
    try {
      const commit = readFileSync(join(this.#folder, 'refs', revision), 'utf8').trim();
      return COMMIT.test(commit) ? commit : undefined;
    } catch {
      return undefined;
    }
  }

  /** Remembers the commit of a revision. @throws DeftuneError when it cannot be written */
  setCommit(revision: string, commit: string): void {
    if (COMMIT.test(revision) || this.commitOf(revision) === commit) return;
    const path = join(this.#folder, 'refs', revision);
    makeFolder(dirname(path));
    writeFileAtomic(path, commit);
  }

  /** Makes the folders that a download needs. @throws DeftuneError when they cannot be made */
  prepare(commit: string): void {
    makeFolder(join(this.#folder, 'blobs'));
    makeFolder(this.snapshotPath(commit));
  }

  /** Puts a blob into a snapshot under its name: as a link or, where links are not allowed, as a copy. */
  link(commit: string, file: string, hash: string): void {
    const path = join(this.snapshotPath(commit), file);
    // Follows the link: one to a blob that is gone counts as missing.
    if (existsSync(path)) return;
    const blob = this.blobPath(hash);
    try {
      rmSync(path, { force: true });
      symlinkSync(relative(dirname(path), blob), path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST' && existsSync(path)) return;
      try {
        copyFileSync(blob, path);
      } catch (copyCause) {
        removeQuietly(path);
        throw explainFileError(path, 'write', copyCause);
      }
    }
  }
}

/** The repository whose snapshot a folder is, if it lies in a cache of this layout. */
export function repositoryOfSnapshot(directory: string): string | undefined {
  const parts = directory.split(sep);
  const at = parts.lastIndexOf('snapshots');
  const folder = at > 0 && COMMIT.test(parts[at + 1] ?? '') ? parts[at - 1] : undefined;
  return folder?.startsWith('models--') ? folder.slice('models--'.length).replace('--', '/') : undefined;
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw explainFileError(path, 'write', cause);
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The write's own error is the one to report.
  }
}
