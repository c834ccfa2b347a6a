import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

/** Writes a script that exports bytes, gzipped, in base64. */
export function writeInlined(path, bytes) {
  writeFileSync(path, `export default '${gzipSync(bytes, { level: 9 }).toString('base64')}';\n`);
}
