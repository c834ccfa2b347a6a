// TensorBoard's file format: TFRecords, each an `Event` message of tensorflow/core/util/event.proto. Only the fields that scalars need.

/** A scalar by its tag, e.g. `train/loss`. */
export type Scalars = Readonly<Record<string, number>>;

/** One event as a TFRecord: length (u64), its masked CRC-32C, the message, its masked CRC-32C. */
export function eventRecord(event: {
  /** Seconds since 1970. */
  wallTime: number;
  step?: number;
  /** The first event of a file holds `brain.Event:2`. */
  fileVersion?: string;
  scalars?: Scalars;
  /** A run starts here: what an earlier one wrote from this step on is void. */
  starts?: boolean;
}): Uint8Array {
  const message = concat([
    [key(1, FIXED64), ...float64(event.wallTime)],
    event.step === undefined ? [] : [key(2, VARINT), ...varint(event.step)],
    event.fileVersion === undefined ? [] : field(3, new TextEncoder().encode(event.fileVersion)),
    event.scalars ? field(5, summary(event.scalars)) : [],
    // SessionLog { status: START }
    event.starts ? field(7, [key(1, VARINT), 1]) : [],
  ]);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(message.length), true);
  return concat([length, uint32(maskedCrc(length)), message, uint32(maskedCrc(message))]);
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const key = (number: number, wireType: number): number => (number << 3) | wireType;

/** Summary { repeated Value value = 1 }, Value { string tag = 1; float simple_value = 2 } */
function summary(scalars: Scalars): Uint8Array {
  return concat(
    Object.entries(scalars).map(([tag, value]) =>
      field(1, concat([field(1, new TextEncoder().encode(tag)), [key(2, FIXED32), ...float32(value)]])),
    ),
  );
}

function field(number: number, bytes: ArrayLike<number>): Uint8Array {
  return concat([[key(number, BYTES), ...varint(bytes.length)], bytes]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return [...bytes, value];
}

function float32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return bytes;
}

function float64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return bytes;
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function concat(parts: readonly ArrayLike<number>[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Castagnoli's polynomial, reflected. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** TFRecord's mask: a CRC of data that hold CRCs is a weak one. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282_ead8) >>> 0;
}
