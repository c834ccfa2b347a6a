import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { DeftuneError } from '../../error.js';
import { explainFileError } from '../files-node.js';
import { withFileLock } from './file-lock-node.js';
import { codeOf, HubUnreachable, pause, type HubClient } from './hub-client-node.js';
import { refusal, type HubFile } from './hub-listing-node.js';

/** Which file to fetch, and where to. */
export interface Transfer {
  repository: string;
  commit: string;
  file: HubFile;
  /** Where the content belongs; an unfinished one is kept beside it, as `.incomplete`. */
  blobPath: string;
  /** Called with the bytes of this file that are there. */
  onBytes?: ((bytes: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Attempts in a row that bring nothing. */
const VAIN_ATTEMPTS = 5;

/**
 * Downloads a file, going on where an earlier attempt was cut off, and checks its size and hash. Only then does it get its name: what
 * is at `blobPath` is whole.
 *
 * @throws DeftuneError when the content is not what the hub's list says (it is deleted), the hub refuses, or the disk does
 * @throws HubUnreachable when the connection is lost again and again
 */
export async function transferFile(client: HubClient, transfer: Transfer): Promise<void> {
  const { blobPath, file } = transfer;
  const partPath = `${blobPath}.incomplete`;
  await withFileLock(`${blobPath}.lock`, async () => {
    if (existsSync(blobPath)) return;
    // A part that an earlier run left may be no good: then once more from the start.
    let mayBeOld = existsSync(partPath);
    for (;;) {
      const problem = (await receive(client, transfer, partPath)) ?? (await hashProblem(partPath, file));
      if (problem === undefined) break;
      await rm(partPath, { force: true });
      if (!mayBeOld) {
        throw new DeftuneError(`${transfer.repository}/${file.name}: ${problem}; what came was deleted, try again`);
      }
      mayBeOld = false;
    }
    await onDisk(blobPath, () => rename(partPath, blobPath));
  });
}

/** Brings the part to the file's full size, over as many connections as it takes. @returns what is wrong with what came */
async function receive(client: HubClient, transfer: Transfer, partPath: string): Promise<string | undefined> {
  const { file, signal, onBytes } = transfer;
  const part = await onDisk(partPath, () => open(partPath, existsSync(partPath) ? 'r+' : 'w+'));
  try {
    let size = (await part.stat()).size;
    if (size > file.size) return `${size} bytes, expected ${file.size}`;
    for (let vain = 0; size < file.size;) {
      const before = size;
      let failure: unknown;
      try {
        const response = await ask(client, transfer, size);
        if (size > 0 && !continues(response, size)) {
          // The server does not know ranges and starts again.
          await part.truncate(0);
          size = 0;
        }
        onBytes?.(size);
        for await (const chunk of patiently(response, client.patience, signal)) {
          if (size + chunk.length > file.size) return `more than the ${file.size} bytes that it should have`;
          await onDisk(partPath, () => writeAll(part, chunk, size));
          size += chunk.length;
          onBytes?.(size);
        }
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof DeftuneError) throw cause;
        failure = cause;
      }
      if (size >= file.size) break;
      vain = size > before ? 0 : vain + 1;
      if (vain >= VAIN_ATTEMPTS) {
        // A server that ends each answer early and properly has nothing more to give.
        if (failure === undefined) return `${size} bytes, expected ${file.size}`;
        throw failure instanceof HubUnreachable ? failure : new HubUnreachable(codeOf(failure), { cause: failure });
      }
      await pause(vain, signal);
    }
    await onDisk(partPath, () => part.sync());
    return undefined;
  } finally {
    await part.close();
  }
}

async function ask(client: HubClient, { repository, commit, file, signal }: Transfer, from: number): Promise<Response> {
  const path = file.name.split('/').map(encodeURIComponent).join('/');
  const response = await client.fetch(`${client.endpoint}/${repository}/resolve/${commit}/${path}`, {
    headers: { 'accept-encoding': 'identity', ...(from > 0 ? { range: `bytes=${from}-` } : {}) },
    signal: signal ?? null,
  });
  if (response.ok) return response;
  await response.body?.cancel();
  throw refusal(`${repository}/${file.name}`, commit, client.endpoint, response.status, client.errorCode);
}

/** Whether an answer holds the content from the position asked for. */
function continues(response: Response, from: number): boolean {
  return response.status === 206 && (response.headers.get('content-range') ?? '').startsWith(`bytes ${from}-`);
}

/** The body's chunks; a silence of `patience` seconds counts as a lost connection. */
async function* patiently(response: Response, patience: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const silence = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(Object.assign(new Error('silence'), { code: 'ETIMEDOUT' })), patience * 1000);
      });
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      signal?.throwIfAborted();
      if (done) return;
      yield value;
    }
  } finally {
    // Ends the connection when the reader leaves early; one that is lost already has nothing to end.
    reader.cancel().catch(() => undefined);
  }
}

async function writeAll(part: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < chunk.length;) {
    const { bytesWritten } = await part.write(chunk, at, chunk.length - at, position + at);
    at += bytesWritten;
  }
}

/** What is wrong with the hash; git's SHA-1 of a file is that of a header with the size and the content. */
async function hashProblem(path: string, { size, hash: expected }: HubFile): Promise<string | undefined> {
  const isGit = expected.length === 40;
  const hash = createHash(isGit ? 'sha1' : 'sha256');
  if (isGit) hash.update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  const found = hash.digest('hex');
  return found === expected
    ? undefined
    : `wrong content (${isGit ? 'SHA-1' : 'SHA-256'} ${found}, expected ${expected})`;
}

async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw explainFileError(path, 'write', cause);
  }
}
