import { DeftuneError } from '../error.js';
import type { Backend, BackendOptions } from './backend.js';
import { loadWasm, type WasmSource } from './load-wasm-browser.js';

let loaded: ReturnType<typeof loadWasm> | undefined;

/** The module, loaded once; after a failure the next call tries again. */
async function load(source?: WasmSource): ReturnType<typeof loadWasm> {
  loaded ??= loadWasm(source);
  try {
    return await loaded;
  } catch (error) {
    loaded = undefined;
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
  await load(source);
}

/**
 * Opens a WebAssembly backend, which uses one thread.
 *
 * @throws DeftuneError where the native backend is asked for, or WebAssembly cannot be loaded.
 */
export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  if (options.backend === 'native') throw new DeftuneError('backend is "native", expected "wasm" in a browser');
  return new (await load())(1, options.isa ?? '');
}
