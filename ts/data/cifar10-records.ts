import { DeftuneError } from '../error.js';
import type { DataRecord } from './record.js';

const SIDE = 32;
const PLANE = SIDE * SIDE;
/** A label byte, then the planes of red, green and blue, each row by row. */
const RECORD = 1 + 3 * PLANE;

/**
 * The records of one of CIFAR-10's binary files, each with `image` (32 by 32 pixels) and `label`.
 *
 * @param path its name, for messages
 * @param names of the classes, which are then the labels; without them the labels are the numbers 0 to 9
 * @throws DeftuneError `path: …` when the size is no multiple of a record's, `path:record: …` when a label is no class
 */
export function cifar10Records(bytes: Uint8Array, path: string, names?: readonly string[]): DataRecord[] {
  const classes = names?.length ?? 10;
  const count = bytes.length / RECORD;
  if (!Number.isInteger(count)) {
    throw new DeftuneError(
      `${path}:${Math.floor(count) + 1}: the record has ${bytes.length % RECORD} bytes, expected ${RECORD} (1 label, 3 planes of ${SIDE} by ${SIDE}); the file may be cut off`,
    );
  }
  return Array.from({ length: count }, (_, index) => {
    const start = index * RECORD;
    const label = bytes[start]!;
    if (label >= classes) {
      throw new DeftuneError(`${path}:${index + 1}: the label byte is ${label}, expected 0 to ${classes - 1}`);
    }
    const data = new Uint8Array(3 * PLANE);
    for (let c = 0; c < 3; c++) {
      const plane = start + 1 + c * PLANE;
      for (let i = 0; i < PLANE; i++) data[i * 3 + c] = bytes[plane + i]!;
    }
    return { image: { width: SIDE, height: SIDE, channels: 3, data }, label: names?.[label] ?? label, line: index + 1 };
  });
}
