import { DeftuneError } from '../error.js';
import { showValue } from './show-value.js';

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/**
 * The files of an uncompressed ZIP archive by name, as views on its bytes. Every offset is checked.
 *
 * @throws DeftuneError naming the archive where it is not one, is cut off, or is compressed, encrypted or larger than 4 GiB
 */
export function readZip(bytes: Uint8Array, name: string): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = endOfCentralDirectory(view);
  if (end === undefined) throw new DeftuneError(`${name}: the file has no ZIP directory; is it truncated?`);
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  const entries = new Map<string, Uint8Array>();
  for (let index = 0; index < count; index++) {
    check(
      at + 46 <= end && view.getUint32(at, true) === CENTRAL,
      `entry ${index} of the ZIP directory is damaged`,
      name,
    );
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [packed, size] = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    const entry = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + (nameLength as number)));
    const what = `ZIP entry ${showValue(entry)}`;
    check(
      (flags & 1) === 0 && method === 0 && packed === size,
      `${what} is compressed or encrypted, expected it stored`,
      name,
    );
    check(local + 30 <= bytes.length && view.getUint32(local, true) === LOCAL, `${what} has no header`, name);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    check(start + size <= bytes.length, `${what} exceeds the file; is it truncated?`, name);
    check(!entries.has(entry), `${what} is there twice`, name);
    entries.set(entry, bytes.subarray(start, start + size));
    at += 46 + (nameLength as number) + (extra as number) + (comment as number);
  }
  return entries;
}

function check(condition: boolean, problem: string, name: string): void {
  if (!condition) throw new DeftuneError(`${name}: ${problem}`);
}

/** It stands at the end, before a comment of up to 64 KiB. */
function endOfCentralDirectory(view: DataView): number | undefined {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 22 - 0xffff); at--) {
    if (view.getUint32(at, true) === END) return at;
  }
  return undefined;
}
