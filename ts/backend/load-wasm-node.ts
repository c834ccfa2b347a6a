import { readFile } from 'node:fs/promises';
import { DeftuneError } from '../error.js';
import type { Backend } from './backend.js';
import { relaxedSimdProbe } from './relaxed-simd-probe.js';

/** Constructor that the WebAssembly module exports. */
export type WasmConstructor = new (threads: number, isa: string) => Backend;

interface WasmModule {
  initSync(options: { module: Uint8Array }): unknown;
  WasmBackend: WasmConstructor;
}

/**
 * Loads the WebAssembly module: the relaxed-SIMD build where this host runs it, the simd128 build otherwise.
 *
 * @throws DeftuneError naming what was tried.
 */
export async function loadWasm(): Promise<WasmConstructor> {
  const builds = WebAssembly.validate(relaxedSimdProbe) ? ['relaxed', 'simd128'] : ['simd128'];
  const tried: string[] = [];
  for (const build of builds) {
    const folder = new URL(`../../wasm/${build}/`, import.meta.url);
    try {
      const bytes = await readFile(new URL('deftune_wasm_bg.wasm', folder));
      const module = (await import(new URL('deftune_wasm.js', folder).href)) as WasmModule;
      module.initSync({ module: bytes });
      return module.WasmBackend;
    } catch (error) {
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      tried.push(`wasm/${build} (${reason.includes('ENOENT') ? 'not built' : reason})`);
    }
  }
  throw new DeftuneError(
    `the WebAssembly module is missing: tried ${tried.join(', ')}; build it with: npm run build:wasm`,
  );
}
