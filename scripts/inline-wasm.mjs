// Writes wasm/BUILD/inline.js beside a module: its bytes, gzipped, as text, for bundlers that do not follow `new URL(file, import.meta.url)`.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeInlined } from './inlined.mjs';

const [file] = process.argv.slice(2);
writeInlined(join(dirname(file), 'inline.js'), readFileSync(file));
