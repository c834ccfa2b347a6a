import { DeftuneError } from '../error.js';
import { parseJson } from '../io/parse-json.js';
import { decodeUtf8 } from '../io/decode-utf8.js';
import { shardsOf } from '../io/hub/wanted-files.js';

/** How far a download is. */
export interface FetchProgress {
  /** File being read, by its name in the model's folder. */
  file: string;
  loaded: number;
  /** Bytes of the file; undefined where the server does not say. */
  total: number | undefined;
  /** Whether it came from the cache. */
  isCached: boolean;
}

/** Options of {@link fetchModel}. */
export interface FetchModelOptions {
  /** Name of the cache (Cache API) that files are kept in; false: none. Default `deftune-models`. Without the API nothing is kept. */
  cache?: string | false | undefined;
  onProgress?: ((progress: FetchProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const DEFAULT_CACHE = 'deftune-models';
const WEIGHTS = 'model.safetensors';
const WEIGHTS_INDEX = 'model.safetensors.index.json';

/**
 * Fetches the files of a model's folder: config.json, the weights (or their shards) and the tokenizer. Weights are kept as they are
 * stored, F16 and BF16 in half the memory of F32. Files are kept in the browser's cache, and read from there the next time.
 *
 * @param address of the folder, e.g. `https://huggingface.co/google-bert/bert-base-uncased/resolve/main/`
 * @throws DeftuneError naming the address that cannot be read
 */
export async function fetchModel(
  address: string | URL,
  options: FetchModelOptions = {},
): Promise<Map<string, Uint8Array>> {
  const base = new URL(String(address).replace(/\/?$/, '/'), globalThis.location?.href);
  const { cache: cacheName = DEFAULT_CACHE } = options;
  const cache =
    cacheName === false || typeof caches === 'undefined'
      ? undefined
      : await caches.open(cacheName).catch(() => undefined);
  const files = new Map<string, Uint8Array>();
  const read = async (file: string): Promise<boolean> => {
    const bytes = await readFile(new URL(file, base), file, cache, options);
    if (bytes) files.set(file, bytes);
    return bytes !== undefined;
  };
  const need = async (file: string): Promise<void> => {
    if (!(await read(file))) throw new DeftuneError(`${new URL(file, base)}: there is no such file`);
  };
  await need('config.json');
  await read('generation_config.json');
  if (!(await read('tokenizer.json')) && !(await read('vocab.txt')) && (await read('vocab.json'))) {
    await need('merges.txt');
  }
  await read('tokenizer_config.json');
  if (!files.has('tokenizer_config.json')) await read('special_tokens_map.json');
  if (await read(WEIGHTS)) return files;
  if (!(await read(WEIGHTS_INDEX))) {
    throw new DeftuneError(`${base}: found neither ${WEIGHTS} nor ${WEIGHTS_INDEX}, expected a model's folder`);
  }
  const index = parseJson(decodeUtf8(files.get(WEIGHTS_INDEX)!, WEIGHTS_INDEX), String(new URL(WEIGHTS_INDEX, base)));
  for (const shard of shardsOf(index)) await need(shard);
  return files;
}

/** Throws away what {@link fetchModel} has kept. @returns whether there was anything */
export async function clearModelCache(cache = DEFAULT_CACHE): Promise<boolean> {
  return typeof caches === 'undefined' ? false : caches.delete(cache);
}

/** Content of a file; undefined where the server has none. */
async function readFile(
  url: URL,
  file: string,
  cache: Cache | undefined,
  { onProgress, signal }: FetchModelOptions,
): Promise<Uint8Array | undefined> {
  const kept = await cache?.match(url);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    onProgress?.({ file, loaded: bytes.length, total: bytes.length, isCached: true });
    return bytes;
  }
  let response: Response;
  try {
    response = await fetch(url, signal ? { signal } : {});
  } catch (cause) {
    throw new DeftuneError(`${url}: cannot be fetched: ${(cause as Error).message}`, { cause });
  }
  // Servers of single-page apps answer every address with their page.
  const isPage = response.headers.get('content-type')?.startsWith('text/html') === true;
  if (response.status === 404 || (response.ok && isPage)) return undefined;
  if (!response.ok) throw new DeftuneError(`${url}: the server answered ${response.status} ${response.statusText}`);
  const bytes = await readBody(response, url, (loaded, total) =>
    onProgress?.({ file, loaded, total, isCached: false }),
  );
  // Without room for it the file is fetched again the next time.
  await cache?.put(url, new Response(bytes as BodyInit)).catch(() => undefined);
  return bytes;
}

async function readBody(
  response: Response,
  url: URL,
  onProgress: (loaded: number, total: number | undefined) => void,
): Promise<Uint8Array> {
  // Of a compressed answer the header gives the compressed length.
  const stated = response.headers.get('content-encoding') === null ? response.headers.get('content-length') : null;
  const total = stated === null ? undefined : Number(stated);
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  try {
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      loaded += value.length;
      onProgress(loaded, total);
    }
  } catch (cause) {
    throw new DeftuneError(`${url}: the download ended after ${loaded} bytes: ${(cause as Error).message}`, { cause });
  }
  if (total !== undefined && loaded !== total) {
    throw new DeftuneError(`${url}: the download ended after ${loaded} of ${total} bytes`);
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
