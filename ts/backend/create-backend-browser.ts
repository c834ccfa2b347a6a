import { DeftuneError } from '../error.js';
import type { Backend, BackendOptions } from './backend.js';
import { checkThreads } from './check-threads.js';
import { loadWasm, type LoadedWasm, type WasmSource } from './load-wasm-browser.js';
import { startHelpers } from './wasm-helpers-browser.js';

/** Most threads by default: beyond, waiting for each other takes what they save, and other pages want cores too. */
const MOST_THREADS = 8;

type Build = 'single' | 'threads';
/** Each build is loaded once. */
const loaded: Partial<Record<Build, Promise<LoadedWasm>>> = {};

/** The module; after a failure the next call tries again. */
async function load(build: Build, source?: WasmSource): Promise<LoadedWasm> {
  const loading = (loaded[build] ??= loadWasm(build === 'threads', source));
  // One that was handed in is all there is.
  if (source !== undefined) loaded.single = loaded.threads = loading;
  try {
    return await loading;
  } catch (error) {
    if (loaded.single === loading) delete loaded.single;
    if (loaded.threads === loading) delete loaded.threads;
    throw error;
  }
}

/**
 * Loads the WebAssembly module. {@link createBackend} does so by itself: this is for a module that is not beside the package's files,
 * and has to come first, as the module is loaded once and later calls ignore their `source`.
 *
 * @throws DeftuneError where it cannot be loaded.
 */
export async function init(source?: WasmSource): Promise<void> {
  await load(whyOneThread() === undefined && defaultThreads() > 1 ? 'threads' : 'single', source);
}

/**
 * Opens a WebAssembly backend. Threads need a page that is cross-origin isolated, and a worker: a page's own thread must not wait. `threads`
 * is at most 8 by default; where there can be but one, or some cannot be started, the console says so if more were asked for.
 *
 * @throws DeftuneError where the native backend or an impossible number of threads is asked for, or WebAssembly cannot be loaded.
 */
export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  const { backend: wanted, threads: asked = 0, isa = '' } = options;
  if (wanted === 'native') throw new DeftuneError('backend is "native", expected "wasm" in a browser');
  checkThreads(asked);
  const why = whyOneThread();
  if (why !== undefined && asked > 1) console.warn(`deftune: one thread instead of ${asked}: ${why}`);
  const threads = why === undefined ? asked || defaultThreads() : 1;
  const { WasmBackend, shared } = await load(threads > 1 ? 'threads' : 'single');
  const backend = new WasmBackend(1, isa);
  if (shared && threads > 1) await startHelpers(backend, shared, threads - 1);
  return backend;
}

function defaultThreads(): number {
  return Math.min(MOST_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1);
}

/** What keeps this host at one thread; undefined: nothing does. */
function whyOneThread(): string | undefined {
  if ('document' in globalThis) return 'this is the thread of the page, which must not wait: train in a worker';
  if (!globalThis.crossOriginIsolated) {
    return 'the page is not cross-origin isolated (headers Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy)';
  }
  return undefined;
}
