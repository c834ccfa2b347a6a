// Writes wasm/worker/inline.js: the script of the Web Worker with all that it imports, gzipped, as text, for bundlers that do not follow
// `new Worker(new URL(file, import.meta.url))`. The WebAssembly module is not in it: the page hands it over.
import { mkdirSync } from 'node:fs';
import { rolldown } from 'rolldown';
import { writeInlined } from './inlined.mjs';

const bundle = await rolldown({
  input: 'dist/web/training-worker.js',
  platform: 'browser',
  external: /inline\.js$/,
  // In a script that is no module there is none; files beside it are not asked for.
  transform: { define: { 'import.meta.url': '""' } },
});
const { output } = await bundle.generate({ format: 'iife', minify: true, codeSplitting: false });
mkdirSync('wasm/worker', { recursive: true });
writeInlined('wasm/worker/inline.js', output[0].code);
