import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';

type Constructor = new (threads: number, isa: string) => Backend;

/** A way to open a backend: the addon, and both builds of the WebAssembly module. */
export interface BackendKind {
  name: string;
  /** Why it cannot be opened here; undefined where it can. */
  missing: string | undefined;
  open(threads?: number): Promise<Backend>;
}

const wasmFolder = new URL('../../wasm/', import.meta.url);

function whyNoWasm(build: string): string | undefined {
  if (process.env['DEFTUNE_SKIP_WASM'] === '1') return 'DEFTUNE_SKIP_WASM=1';
  return existsSync(new URL(`${build}/deftune_wasm_bg.wasm`, wasmFolder)) ? undefined : 'not built: npm run build:wasm';
}

/** The constructor of one build of the module, whatever the loader would choose. */
async function wasmBuild(build: string): Promise<Constructor> {
  const folder = new URL(`${build}/`, wasmFolder);
  const module = (await import(new URL('deftune_wasm.js', folder).href)) as {
    initSync(options: { module: Uint8Array }): unknown;
    WasmBackend: Constructor;
  };
  module.initSync({ module: readFileSync(new URL('deftune_wasm_bg.wasm', folder)) });
  return module.WasmBackend;
}

/** Every backend that this package has. */
export const BACKENDS: readonly BackendKind[] = [
  { name: 'native', missing: undefined, open: (threads = 2) => createBackend({ backend: 'native', threads }) },
  ...['relaxed', 'simd128'].map((build) => ({
    name: `wasm ${build}`,
    missing: whyNoWasm(build),
    open: async () => new (await wasmBuild(build))(1, ''),
  })),
];

/** Declares one test for each backend, with a backend of its own; one that is missing is skipped, and its title says why. */
export function onEachBackend(
  title: string,
  body: (t: ExecutionContext, backend: Backend, kind: BackendKind) => void | Promise<void>,
): void {
  for (const kind of BACKENDS) {
    if (kind.missing === undefined) {
      test(`${title} [${kind.name}]`, async (t) => {
        await body(t, await kind.open(), kind);
      });
    } else {
      test.skip(`${title} [${kind.name}: ${kind.missing}]`, () => undefined);
    }
  }
}
