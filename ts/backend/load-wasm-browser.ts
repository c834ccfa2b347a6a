import { DeftuneError } from '../error.js';
import type { Backend } from './backend.js';
import { relaxedSimdProbe } from './relaxed-simd-probe.js';

/** Where the WebAssembly module comes from: the address of a `.wasm` file, its bytes, or the compiled module. */
export type WasmSource = string | URL | BufferSource | WebAssembly.Module;

/**
 * Loads the WebAssembly module: the relaxed-SIMD build where this host runs it, the simd128 build otherwise.
 *
 * @param source default: the file beside the package's own glue code
 * @throws DeftuneError naming the build and why it could not be loaded.
 */
export async function loadWasm(source?: WasmSource): Promise<new (threads: number, isa: string) => Backend> {
  const relaxed = WebAssembly.validate(relaxedSimdProbe);
  try {
    // Spelled out rather than computed, so that bundlers find both. The glue code of the two builds is the same.
    const glue = relaxed
      ? await import('../../wasm/relaxed/deftune_wasm.js')
      : await import('../../wasm/simd128/deftune_wasm.js');
    // The argument is left out, not undefined, where the glue code is to look beside itself.
    await (source === undefined ? glue.default() : glue.default({ module_or_path: source }));
    return glue.WasmBackend;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DeftuneError(
      `the WebAssembly module (${relaxed ? 'relaxed SIMD' : 'simd128'}) could not be loaded: ${reason}`,
      { cause },
    );
  }
}
