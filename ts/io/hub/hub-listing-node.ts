import { DeftuneError } from '../../error.js';
import { showValue } from '../show-value.js';
import type { HubClient } from './hub-client-node.js';

/** A file of a repository. */
export interface HubFile {
  name: string;
  /** Bytes. */
  size: number;
  /** Its name in the cache: SHA-256 of the content for large files (LFS), git's SHA-1 for others. */
  hash: string;
}

/** A repository at one commit. */
export interface HubListing {
  commit: string;
  /** Files at the top level, by name. */
  files: ReadonlyMap<string, HubFile>;
}

/**
 * Asks the hub for the commit of a revision and for its files.
 *
 * @throws DeftuneError when there is no such repository or revision, it may not be read, or the hub answers something else
 * @throws HubUnreachable when there is no answer
 */
export async function listRepository(client: HubClient, repository: string, revision: string): Promise<HubListing> {
  // Loaded here: most runs have their model on the disk.
  const { HubApiError, listFiles, modelInfo } = await import('@huggingface/hub');
  const common = { hubUrl: client.endpoint, fetch: client.fetch };
  try {
    const { sha } = await modelInfo({ ...common, name: repository, revision, additionalFields: ['sha'] });
    const commit = checked(sha, /^[0-9a-f]{40}$/, `${repository}: sha`);
    const files = new Map<string, HubFile>();
    for await (const entry of listFiles({ ...common, repo: repository, revision: commit })) {
      if (entry.type !== 'file') continue;
      const name = entry.path;
      const hash = checked(
        entry.lfs?.oid ?? entry.oid,
        /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/,
        `${repository}/${name}: oid`,
      );
      const size = entry.lfs?.size ?? entry.size;
      if (!Number.isSafeInteger(size) || size < 0)
        throw new DeftuneError(`${repository}/${name}: the hub says its size is ${showValue(size)}`);
      files.set(name, { name, size, hash });
    }
    return { commit, files };
  } catch (cause) {
    if (cause instanceof HubApiError)
      throw refusal(repository, revision, client.endpoint, cause.statusCode, client.errorCode, cause);
    // What is no JSON, or not of the form that the package expects.
    if (cause instanceof SyntaxError || cause instanceof TypeError) {
      throw new DeftuneError(
        `${client.endpoint} answered something that is no list of the files of ${repository}; is it a Hugging Face hub?`,
        { cause },
      );
    }
    throw cause;
  }
}

/** What a status means, for a person to act on. */
export function refusal(
  repository: string,
  revision: string,
  endpoint: string,
  status: number,
  code: string | undefined,
  cause?: unknown,
): DeftuneError {
  const why = reason(revision, status, code);
  return new DeftuneError(`${repository}: ${why} (${endpoint} answered ${status}${code ? `, ${code}` : ''})`, {
    cause,
  });
}

function reason(revision: string, status: number, code: string | undefined): string {
  if (code === 'RevisionNotFound') return `there is no revision ${showValue(revision)}`;
  if (code === 'EntryNotFound') return 'a file that was listed is no longer there; try again';
  if (code === 'GatedRepo' || status === 403) {
    return 'access is restricted: accept the terms on its page, and set HF_TOKEN to a token of your account';
  }
  if (status === 401) {
    return 'there is no such repository, or it is private: check the name, or set HF_TOKEN to a token that may read it';
  }
  if (status === 404) return 'there is no such repository, or it has no such revision';
  if (status === 429) return 'too many requests: wait a little, or set HF_TOKEN';
  return 'the hub could not answer';
}

function checked(value: unknown, pattern: RegExp, what: string): string {
  if (typeof value === 'string' && pattern.test(value)) return value;
  throw new DeftuneError(`${what} is ${showValue(value)}, expected a hash; is the endpoint a Hugging Face hub?`);
}
