import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { explainFileError } from '../files-node.js';

/** Milliseconds between two looks at a lock that another process holds. */
const LOOK = 100;
/** A lock whose owner cannot be asked (another machine's, on a shared disk) is given up after this many milliseconds without a sign. */
const ABANDONED = 600_000;

const held = new Map<string, Promise<unknown>>();

/**
 * Runs an action while no other one runs under the same lock, in this process or another on the machine. The lock is a file with the
 * process's number; one whose process is gone is taken over.
 *
 * @throws DeftuneError when the lock's file cannot be written
 */
export async function withFileLock<T>(path: string, action: () => Promise<T>): Promise<T> {
  const before = held.get(path);
  const run = (async () => {
    await before?.catch(() => undefined);
    while (!take(path)) await new Promise((resolve) => setTimeout(resolve, LOOK));
    try {
      return await action();
    } finally {
      rmSync(path, { force: true });
    }
  })();
  held.set(path, run);
  try {
    return await run;
  } finally {
    if (held.get(path) === run) held.delete(path);
  }
}

function take(path: string): boolean {
  try {
    const file = openSync(path, 'wx');
    writeSync(file, String(process.pid));
    closeSync(file);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw explainFileError(path, 'write', cause);
  }
  if (isAbandoned(path)) rmSync(path, { force: true });
  return false;
}

function isAbandoned(path: string): boolean {
  try {
    const owner = Number(readFileSync(path, 'utf8'));
    const age = Date.now() - statSync(path).mtimeMs;
    // Between its making and its writing the file is empty.
    if (!Number.isInteger(owner) || owner <= 0) return age > 2000;
    // This process's own locks are in `held`: one that is not was left by an earlier process of the same number.
    return owner === process.pid || !isAlive(owner) || age > ABANDONED;
  } catch {
    // It has just been given back.
    return false;
  }
}

function isAlive(process_: number): boolean {
  try {
    process.kill(process_, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}
