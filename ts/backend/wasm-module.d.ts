/** What `npm run build:wasm` writes to `wasm/`; declared here so that the sources compile before that has run. */
declare module '*/deftune_wasm.js' {
  export const WasmBackend: new (threads: number, isa: string) => import('./backend.js').Backend;
  export default function load(options?: {
    module_or_path: string | URL | Request | Response | BufferSource | WebAssembly.Module;
  }): Promise<unknown>;
}
/** The module's bytes, gzipped, in base64. */
declare module '*/inline.js' {
  const text: string;
  export default text;
}
