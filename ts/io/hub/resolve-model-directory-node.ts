import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DeftuneError } from '../../error.js';
import { readJson } from '../files-node.js';
import { HubCache } from './hub-cache-node.js';
import { HubClient, HubUnreachable } from './hub-client-node.js';
import { listRepository, type HubFile } from './hub-listing-node.js';
import { hubSettings, type HubSettings } from './hub-settings-node.js';
import { transferFile } from './hub-transfer-node.js';
import { missingFor, shardIndex, shardsOf, wantedFiles, type RepositoryPart } from './wanted-files.js';

/** How far a download is. */
export interface DownloadProgress {
  repository: string;
  /** The file on its way. */
  file: string;
  /** Bytes of all wanted files that are there. */
  loaded: number;
  /** Bytes of all wanted files; grows once, when the list of a model's shards is there. */
  total: number;
}

/** Options of resolveModelDirectory; settings not given come from the environment (see hubSettings). */
export interface HubOptions extends Partial<HubSettings> {
  /** Branch, tag or commit; default `main`. */
  revision?: string | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * The local folder of a model, tokenizer or adapter: the given path if something is there, else the files of the repository of that
 * name on the Hugging Face hub, downloaded into the cache that Python's huggingface_hub uses as well. What is cached is not loaded
 * again; when the hub cannot be reached, what was cached of the revision is used.
 *
 * @param nameOrPath a path, or a repository such as `google-bert/bert-base-uncased`
 * @param parts what is needed of it; only those files are downloaded
 * @returns a folder with the files; `nameOrPath` itself when it is a path, whether it exists or not
 * @throws DeftuneError saying what to do: no such repository, access denied, no connection, not in the cache, wrong content
 */
export async function resolveModelDirectory(
  nameOrPath: string,
  parts: readonly RepositoryPart[],
  options: HubOptions = {},
): Promise<string> {
  if (existsSync(nameOrPath) || !isRepositoryName(nameOrPath)) return nameOrPath;
  const settings = hubSettings(options);
  const revision = options.revision ?? 'main';
  if (!/^[\w.-]+(?:\/[\w.-]+)*$/.test(revision) || revision.split('/').some((part) => /^\.+$/.test(part))) {
    throw new DeftuneError(`revision is ${JSON.stringify(revision)}, expected a branch, a tag or a commit`);
  }
  const cache = new HubCache(settings.cacheDir, nameOrPath);
  const known = cache.commitOf(revision);
  const cached = known === undefined ? undefined : cachedSnapshot(cache, known, parts);
  // A commit never changes.
  if (cached !== undefined && (settings.offline || known === revision)) return cached;
  if (settings.offline) {
    throw new DeftuneError(
      `${nameOrPath}: no such folder, and not in the cache ${settings.cacheDir}; HF_HUB_OFFLINE forbids a download`,
    );
  }
  try {
    return await download(new HubClient(settings), cache, nameOrPath, revision, parts, options);
  } catch (cause) {
    if (!(cause instanceof HubUnreachable)) throw cause;
    if (cached !== undefined) return cached;
    throw new DeftuneError(
      `${nameOrPath}: no such folder, and ${settings.endpoint} cannot be reached (${cause.code}); check the connection, or HF_ENDPOINT`,
      { cause },
    );
  }
}

/** `name` or `owner/name`, and no path: paths that are not there are for their readers to report. */
function isRepositoryName(text: string): boolean {
  return /^\w[\w.-]*(?:\/\w[\w.-]*)?$/.test(text) && !/--|\.\.|\.(?:git|json|safetensors)$/.test(text);
}

async function download(
  client: HubClient,
  cache: HubCache,
  repository: string,
  revision: string,
  parts: readonly RepositoryPart[],
  { onProgress, signal }: HubOptions,
): Promise<string> {
  const { commit, files } = await listRepository(client, repository, revision);
  const has = (name: string): boolean => files.has(name);
  const names = new Set(parts.flatMap((part) => wantedFiles(part, has)));
  for (const part of parts) requirePart(part, has, repository, files);
  cache.prepare(commit);
  const folder = cache.snapshotPath(commit);
  const progress = { loaded: 0, total: 0 };
  const fetchAll = async (wanted: readonly HubFile[]): Promise<void> => {
    progress.total += wanted.reduce((sum, { size }) => sum + size, 0);
    for (const file of wanted) {
      const { loaded, total } = progress;
      const onBytes = (bytes: number) => onProgress?.({ repository, file: file.name, loaded: loaded + bytes, total });
      const blobPath = cache.blobPath(file.hash);
      if (!existsSync(blobPath)) await transferFile(client, { repository, commit, file, blobPath, onBytes, signal });
      cache.link(commit, file.name, file.hash);
      progress.loaded = loaded + file.size;
      onBytes(file.size);
    }
  };
  await fetchAll([...names].map((name) => files.get(name)!));
  const index = parts.map((part) => shardIndex(part, [...names])).find((name) => name !== undefined);
  if (index !== undefined) {
    const shards = shardsOf(readJson(join(folder, index)));
    const lost = shards.find((name) => !has(name));
    if (lost !== undefined)
      throw new DeftuneError(`${repository}: ${index} names ${lost}, which the repository does not have`);
    await fetchAll(shards.map((name) => files.get(name)!));
  }
  // Last, so that the cache never says of a revision that it is there before it is.
  cache.setCommit(revision, commit);
  return folder;
}

function requirePart(
  part: RepositoryPart,
  has: (name: string) => boolean,
  repository: string,
  files: ReadonlyMap<string, HubFile>,
): void {
  // A model without a tokenizer, for images say, is none the less whole.
  const missing = part === 'tokenizer' ? undefined : missingFor(part, has);
  if (missing === undefined) return;
  const pickled = [...files.keys()].find((name) => /\.(?:bin|h5|msgpack|pt)$/.test(name));
  const advice = pickled ? `; ${pickled} cannot be read, convert it to safetensors` : '';
  throw new DeftuneError(
    `${repository}: the repository has no ${missing}, expected ${part === 'model' ? 'a model' : 'an adapter'}${advice}`,
  );
}

/** A cached snapshot that has all it takes. */
function cachedSnapshot(cache: HubCache, commit: string, parts: readonly RepositoryPart[]): string | undefined {
  const folder = cache.snapshotPath(commit);
  // Links to blobs that are not there count as missing.
  const has = (name: string): boolean => existsSync(join(folder, name));
  const isWhole = parts.every((part) => {
    const index = shardIndex(part, ['model.safetensors.index.json'].filter(has));
    const shards = index === undefined ? [] : shardsOf(readJson(join(folder, index)));
    return missingFor(part, has, shards) === undefined || (part === 'tokenizer' && parts.length > 1);
  });
  return isWhole ? folder : undefined;
}
