import loadGlue, { WasmBackend } from '../../wasm/simd128/deftune_wasm.js';
import { DeftuneError } from '../error.js';
import type { Backend } from './backend.js';
import { relaxedSimdProbe } from './relaxed-simd-probe.js';

/** Where the WebAssembly module comes from: the address of a `.wasm` file, its bytes, or the compiled module. */
export type WasmSource = string | URL | BufferSource | WebAssembly.Module;

/**
 * Loads the WebAssembly module: the relaxed-SIMD build where this host runs it, the simd128 build otherwise. Both have the same glue code.
 *
 * @param source default: the file in this package
 * @throws DeftuneError naming the build and why it could not be loaded.
 */
export async function loadWasm(source?: WasmSource): Promise<new (threads: number, isa: string) => Backend> {
  const isRelaxed = WebAssembly.validate(relaxedSimdProbe);
  try {
    if (source === undefined) await loadPackaged(isRelaxed);
    else await loadGlue({ module_or_path: source });
    return WasmBackend;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DeftuneError(
      `the WebAssembly module (${isRelaxed ? 'relaxed SIMD' : 'simd128'}) could not be loaded: ${reason}`,
      { cause },
    );
  }
}

/** From the file in this package, or, where the bundler has left that behind (esbuild, Rollup), from the copy in a script. */
async function loadPackaged(isRelaxed: boolean): Promise<void> {
  // Spelled out rather than computed, so that bundlers find all files.
  const file = isRelaxed
    ? new URL('../../wasm/relaxed/deftune_wasm_bg.wasm', import.meta.url)
    : new URL('../../wasm/simd128/deftune_wasm_bg.wasm', import.meta.url);
  try {
    await loadGlue({ module_or_path: file });
  } catch (error) {
    let text: string;
    try {
      ({ default: text } = await (isRelaxed
        ? import('../../wasm/relaxed/inline.js')
        : import('../../wasm/simd128/inline.js')));
    } catch {
      throw error;
    }
    await loadGlue({ module_or_path: await decompress(text) });
  }
}

async function decompress(text: string): Promise<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}
