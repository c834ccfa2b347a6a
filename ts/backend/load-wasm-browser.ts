import loadGlue, { WasmBackend } from '../../wasm/simd128/deftune_wasm.js';
import { DeftuneError } from '../error.js';
import { inlinedBytes } from '../io/inlined-bytes.js';
import type { Backend } from './backend.js';
import { relaxedSimdProbe } from './relaxed-simd-probe.js';
import type { SharedWasm } from './wasm-helpers-browser.js';

/** Where the WebAssembly module comes from: the address of a `.wasm` file, its bytes, or the compiled module. */
export type WasmSource = string | URL | BufferSource | WebAssembly.Module;

/** A module that is ready. */
export interface LoadedWasm {
  WasmBackend: new (threads: number, isa: string) => Backend;
  /** For helper threads; undefined: the build has none. */
  shared?: SharedWasm;
}

/** 64 kB pages: more than the module starts with, and the most there may be; some devices do not promise 4 GB. */
const FIRST_PAGES = 64;
const MOST_PAGES = [65536, 32768, 16384];

/**
 * Loads the WebAssembly module: the relaxed-SIMD build where this host runs it, the simd128 build otherwise.
 *
 * @param threads whether to load the build with threads, which needs shared memory; where that fails, the other one is loaded, and the
 *   console says why. A `source` decides by itself.
 * @param source default: the file in this package
 * @throws DeftuneError naming the build and why it could not be loaded.
 */
export async function loadWasm(threads: boolean, source?: WasmSource): Promise<LoadedWasm> {
  const isRelaxed = WebAssembly.validate(relaxedSimdProbe);
  try {
    if (source !== undefined) return await loadGiven(await compile(source));
    if (threads) {
      try {
        return await loadShared(await compile(sharedFile(isRelaxed)));
      } catch (error) {
        console.warn(
          `deftune: one thread, as the WebAssembly module with threads could not be loaded: ${String(error)}`,
        );
      }
    }
    return await loadGiven(await compilePackaged());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DeftuneError(
      `the WebAssembly module (${isRelaxed ? 'relaxed SIMD' : 'simd128'}) could not be loaded: ${reason}`,
      { cause },
    );
  }
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source !== 'string' && !(source instanceof URL)) return WebAssembly.compile(source);
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${String(source)}: ${response.status} ${response.statusText}`);
  // Servers that do not know the type are common.
  if (response.headers.get('Content-Type') === 'application/wasm') return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

async function loadGiven(module: WebAssembly.Module): Promise<LoadedWasm> {
  if (WebAssembly.Module.imports(module).some(({ kind }) => kind === 'memory')) return loadShared(module);
  await loadGlue({ module_or_path: module });
  return { WasmBackend };
}

async function loadShared(module: WebAssembly.Module): Promise<LoadedWasm> {
  const memory = sharedMemory();
  const glue = await import('../../wasm/simd128-threads/deftune_wasm.js');
  await glue.default({ module_or_path: module, memory });
  return { WasmBackend: glue.WasmBackend, shared: { module, memory, seat: glue.seat } };
}

function sharedMemory(): WebAssembly.Memory {
  let refused: unknown;
  for (const maximum of MOST_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
    } catch (error) {
      refused = error;
    }
  }
  throw refused;
}

// Addresses are spelled out rather than computed, so that bundlers find all files. Relaxed or not, the glue code is the same.
function sharedFile(isRelaxed: boolean): URL {
  return isRelaxed
    ? new URL('../../wasm/relaxed-threads/deftune_wasm_bg.wasm', import.meta.url)
    : new URL('../../wasm/simd128-threads/deftune_wasm_bg.wasm', import.meta.url);
}

/** The module without threads: the file in this package, or, where the bundler has left that behind (esbuild, Rollup), the copy in a script. */
export async function compilePackaged(): Promise<WebAssembly.Module> {
  const isRelaxed = WebAssembly.validate(relaxedSimdProbe);
  const file = isRelaxed
    ? new URL('../../wasm/relaxed/deftune_wasm_bg.wasm', import.meta.url)
    : new URL('../../wasm/simd128/deftune_wasm_bg.wasm', import.meta.url);
  try {
    return await compile(file);
  } catch (error) {
    let text: string;
    try {
      ({ default: text } = await (isRelaxed
        ? import('../../wasm/relaxed/inline.js')
        : import('../../wasm/simd128/inline.js')));
    } catch {
      throw error;
    }
    return WebAssembly.compile(await inlinedBytes(text));
  }
}
