import { DeftuneError } from '../error.js';
import type { Backend, BackendOptions } from './backend.js';
import { checkThreads } from './check-threads.js';
import { loadNative } from './load-native-node.js';
import { loadWasm } from './load-wasm-node.js';

/**
 * Opens a backend: the native addon first, WebAssembly otherwise.
 *
 * @throws DeftuneError naming everything that was tried.
 */
export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  const threads = options.threads ?? 0;
  checkThreads(threads);
  const tried: string[] = [];
  const candidates = {
    native: async () => new (loadNative())(threads, options.isa ?? ''),
    wasm: async () => new (await loadWasm())(1, options.isa ?? ''),
  };
  const wanted = options.backend ? [options.backend] : (['native', 'wasm'] as const);
  for (const name of wanted) {
    try {
      return await candidates[name]();
    } catch (error) {
      tried.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new DeftuneError(`no backend could be opened; tried ${tried.join('; ')}`);
}
