import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { parseSafetensors, serializeSafetensors } from '../../ts/io/safetensors.js';

/** A file with the given header text and number of data bytes; `length` overrides the stored header length. */
function file(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const one = (fields: object): string =>
  JSON.stringify({ w: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...fields } });
const two = (a: [number, number], b: [number, number]): string =>
  JSON.stringify({
    a: { dtype: 'U8', shape: [a[1] - a[0]], data_offsets: a },
    b: { dtype: 'U8', shape: [b[1] - b[0]], data_offsets: b },
  });

const hostile: [what: string, bytes: Uint8Array, expected: RegExp][] = [
  ['an empty file', new Uint8Array(0), /at least 8 bytes.*found 0/],
  ['half a length', new Uint8Array(7), /found 7/],
  ['an absurd length', file('{}', 0, 2n ** 64n - 1n), /header length 18446744073709551615 is not credible/],
  ['a length of over 100 MB', file('{}', 0, 100_000_001n), /not credible, expected at most 100000000/],
  ['a length beyond the file', file('{}', 0, 3n), /header length 3 exceeds the file, which has 10 bytes/],
  ['an empty header', file(''), /invalid JSON, the text ends too early/],
  ['a header that is not UTF-8', file(new Uint8Array([0x7b, 0xff, 0x7d])), /not UTF-8/],
  ['a byte order mark', file('\ufeff{}'), /invalid JSON/],
  ['a header that is not JSON', file('{"w": nope}'), /header\):1:7: invalid JSON, unexpected "nope/],
  ['a list', file('[]'), /header is \[\], expected an object/],
  ['null', file('null'), /header is null/],
  ['deep nesting', file('['.repeat(100_000)), /invalid JSON/],
  ['metadata that is no object', file('{"__metadata__":[]}'), /__metadata__ is \[\]/],
  ['metadata that is no string', file('{"__metadata__":{"a":1}}'), /__metadata__ "a" is 1, expected a string/],
  ['a tensor that is no object', file('{"w":3}'), /tensor "w" is 3/],
  ['a tensor that is null', file('{"w":null}'), /tensor "w" is null/],
  ['an unknown dtype', file(one({ dtype: 'F31' }), 8), /dtype is "F31", expected one of BOOL, U8/],
  ['a dtype from the prototype', file(one({ dtype: 'toString' }), 8), /dtype is "toString"/],
  ['no dtype', file('{"w":{"shape":[2],"data_offsets":[0,8]}}', 8), /dtype is undefined/],
  ['no shape', file('{"w":{"dtype":"F32","data_offsets":[0,8]}}', 8), /shape is undefined/],
  ['a negative dim', file(one({ shape: [-2] }), 8), /shape is \[-2\]/],
  ['two negative dims', file(one({ shape: [-1, -2] }), 8), /shape is \[-1,-2\]/],
  ['a fractional dim', file(one({ shape: [0.5, 4] }), 8), /shape is \[0.5,4\]/],
  ['a dim as text', file(one({ shape: ['2'] }), 8), /shape is \["2"\]/],
  ['an unsafe dim', file(one({ shape: [2 ** 53] }), 8), /shape is \[9007199254740992\]/],
  ['an overflowing product', file(one({ shape: [2 ** 32, 2 ** 32] }), 8), /takes too many bytes/],
  ['a product too large', file(one({ shape: [3] }), 8), /shape \[3\] of F32 takes 12 bytes, .* hold 8/],
  ['a product too small', file(one({ shape: [] }), 8), /takes 4 bytes/],
  ['offsets that are no list', file(one({ data_offsets: 8 }), 8), /data_offsets is 8/],
  ['three offsets', file(one({ data_offsets: [0, 4, 8] }), 8), /data_offsets is \[0,4,8\]/],
  ['a negative offset', file(one({ data_offsets: [-8, 0] }), 8), /data_offsets is \[-8,0\]/],
  ['a fractional offset', file(one({ data_offsets: [0, 8.5] }), 9), /data_offsets is \[0,8.5\]/],
  ['begin beyond end', file(one({ data_offsets: [8, 0] }), 8), /expected begin <= end/],
  ['an end beyond the file', file(one({}), 7), /exceed the file's 7 data bytes/],
  ['an overlap', file(two([0, 4], [3, 6]), 6), /tensor "b": data_offsets \[3,6\] overlaps/],
  ['the same bytes twice', file(two([0, 4], [0, 4]), 4), /overlaps/],
  ['a hole', file(two([0, 4], [5, 8]), 8), /tensor "b": data_offsets \[5,8\] leaves a hole/],
  ['a hole at the start', file(one({ data_offsets: [4, 12] }), 12), /leaves a hole/],
  ['bytes left over', file(one({}), 9), /end at byte 8 of the data, expected its end, 9/],
  ['data without tensors', file('{}', 1), /end at byte 0/],
  // The format's description forbids it; the official reader keeps the last, others may keep the first.
  [
    'a tensor twice',
    file(
      '{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      1,
    ),
    /key "w" appears twice/,
  ],
];

for (const [what, bytes, expected] of hostile) {
  test(`rejects ${what}`, (t) => {
    const error = t.throws(() => parseSafetensors(bytes, 'x.safetensors'), { instanceOf: DeftuneError });
    t.regex(error.message, expected);
    t.true(error.message.startsWith('x.safetensors'));
    t.false(error.message.includes('\n'));
    t.true(error.message.length < 400);
  });
}

test('a hostile name stays one short line', (t) => {
  const header = JSON.stringify({ ['\n'.repeat(10_000)]: 1 });
  const error = t.throws(() => parseSafetensors(file(header), 'x'), { instanceOf: DeftuneError });
  t.false(error.message.includes('\n'));
  t.true(error.message.length < 300);
});

test('accepts no tensors, empty tensors and scalars', (t) => {
  t.is(parseSafetensors(file('{}'), 'x').tensors.size, 0);
  const empty = parseSafetensors(file(one({ shape: [2 ** 40, 2 ** 40, 0], data_offsets: [0, 0] })), 'x');
  t.is(empty.tensors.get('w')?.data.length, 0);
  t.is(parseSafetensors(file(one({ shape: [], data_offsets: [0, 4] }), 4), 'x').tensors.get('w')?.data.length, 4);
});

test('a tensor called __proto__ is a tensor like any other', (t) => {
  const entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
  const { tensors, metadata } = parseSafetensors(
    file(`{"__metadata__":{"__proto__":"m"},"__proto__":${entry}}`, 1),
    'x',
  );
  t.deepEqual([...tensors.keys()], ['__proto__']);
  t.deepEqual(Object.entries(metadata), [['__proto__', 'm']]);
  t.is(({} as Record<string, unknown>)['dtype'], undefined);
  const again = parseSafetensors(serializeSafetensors([['__proto__', tensors.get('__proto__')!]]), 'x');
  t.deepEqual([...again.tensors.keys()], ['__proto__']);
});

test('fields are not inherited from a __proto__ key', (t) => {
  const header = '{"w":{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}';
  t.throws(() => parseSafetensors(file(header), 'x'), { message: /dtype is undefined/ });
});

test('the data are views on the bytes given, also at an offset', (t) => {
  const bytes = file(one({}), 8);
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  const view = parseSafetensors(shifted.subarray(3), 'x').tensors.get('w')!.data;
  t.is(view.buffer, shifted.buffer);
  t.is(view.byteOffset, shifted.length - 8);
});

test('writes what the official writer writes', (t) => {
  const bytes = serializeSafetensors([
    ['10', { dtype: 'F32', shape: [1], data: Float32Array.of(2) }],
    ['b', { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
    ['9', { dtype: 'F32', shape: [], data: Float32Array.of(1) }],
    ['a', { dtype: 'I64', shape: [1], data: new Uint8Array(8).fill(7) }],
  ]);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  t.is(length % 8, 0);
  // Compared with the output of safetensors.numpy.save for the same tensors.
  t.is(
    new TextDecoder().decode(bytes.subarray(8, 8 + length)).trimEnd(),
    '{"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
      '"10":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"9":{"dtype":"F32","shape":[],"data_offsets":[12,16]},' +
      '"b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}',
  );
  const { tensors, metadata } = parseSafetensors(bytes, 'x');
  t.deepEqual(metadata, { format: 'pt' });
  t.deepEqual([...tensors.get('b')!.data], [1, 2, 3]);
  const nine = tensors.get('9')!.data;
  t.is(new DataView(nine.buffer, nine.byteOffset).getFloat32(0, true), 1);
});

test('writes a view of a larger buffer', (t) => {
  const data = Float32Array.of(1, 2, 3).subarray(1, 2);
  const { tensors } = parseSafetensors(serializeSafetensors([['w', { dtype: 'F32', shape: [1], data }]]), 'x');
  t.deepEqual([...tensors.get('w')!.data], [0, 0, 0, 64]);
});

test('refuses to write what does not fit', (t) => {
  const fine = { dtype: 'F32', shape: [1], data: Float32Array.of(1) } as const;
  t.throws(() => serializeSafetensors([['w', { ...fine, shape: [2] }]]), {
    message: /"w": F32 .* takes 8 bytes, found 4/,
  });
  t.throws(() => serializeSafetensors([['w', { ...fine, dtype: 'I32' }]]), { message: /in a Float32Array/ });
  t.throws(
    () =>
      serializeSafetensors([
        ['w', fine],
        ['w', fine],
      ]),
    { message: /"w" is reserved or repeated/ },
  );
  t.throws(() => serializeSafetensors([['__metadata__', fine]]), { message: /reserved/ });
});
