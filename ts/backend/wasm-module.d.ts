/** What `npm run build:wasm` writes to `wasm/`; declared here so that the sources compile before that has run. */
declare module '*/deftune_wasm.js' {
  type Backend = import('./backend.js').Backend;
  export const WasmBackend: new (threads: number, isa: string) => Backend;
  /** Of the builds with threads: a place in a backend's pool. */
  export function seat(backend: Backend): number;
  export default function load(options?: {
    module_or_path: string | URL | Request | Response | BufferSource | WebAssembly.Module;
    memory?: WebAssembly.Memory;
  }): Promise<unknown>;
}
/** The bytes of a module, or of the worker's script: gzipped, in base64. */
declare module '*/inline.js' {
  const text: string;
  export default text;
}
