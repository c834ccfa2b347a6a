// Writes wasm/BUILD/inline.js beside a module: its bytes, gzipped, as text, for bundlers that do not follow `new URL(file, import.meta.url)`.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const [file] = process.argv.slice(2);
const text = gzipSync(readFileSync(file), { level: 9 }).toString('base64');
writeFileSync(join(dirname(file), 'inline.js'), `export default '${text}';\n`);
