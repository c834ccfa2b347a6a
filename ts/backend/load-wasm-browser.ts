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
  const relaxed = WebAssembly.validate(relaxedSimdProbe);
  try {
    await loadGlue({ module_or_path: source ?? packaged(relaxed) });
    return WasmBackend;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DeftuneError(
      `the WebAssembly module (${relaxed ? 'relaxed SIMD' : 'simd128'}) could not be loaded: ${reason}`,
      { cause },
    );
  }
}

/** Spelled out rather than computed, so that bundlers find both files. */
function packaged(relaxed: boolean): URL {
  return relaxed
    ? new URL('../../wasm/relaxed/deftune_wasm_bg.wasm', import.meta.url)
    : new URL('../../wasm/simd128/deftune_wasm_bg.wasm', import.meta.url);
}
