import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { openCheckpoint } from '../../ts/io/checkpoint-node.js';
import { serializeSafetensors } from '../../ts/io/safetensors.js';

const root = mkdtempSync(join(tmpdir(), 'deftune-checkpoint-'));
test.after.always(() => rmSync(root, { recursive: true }));

function folder(name: string, index?: unknown): string {
  const dir = join(root, name);
  mkdirSync(dir);
  for (const [file, tensor, value] of [
    ['s1.safetensors', 'a', 1],
    ['s2.safetensors', 'b', 2],
  ] as const) {
    writeFileSync(
      join(dir, file),
      serializeSafetensors([[tensor, { dtype: 'U8', shape: [1], data: Uint8Array.of(value) }]]),
    );
  }
  if (index !== undefined) writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify(index));
  return dir;
}

test('opens a single file', (t) => {
  const dir = join(root, 'single');
  mkdirSync(dir);
  writeFileSync(
    join(dir, 'model.safetensors'),
    serializeSafetensors([['w', { dtype: 'F32', shape: [1, 2], data: Float32Array.of(1, 2) }]]),
  );
  const checkpoint = openCheckpoint(dir);
  t.deepEqual(checkpoint.names(), ['w']);
  t.deepEqual(checkpoint.get('w')?.shape, [1, 2]);
  t.is(checkpoint.get('toString'), undefined);
});

test('opens shards', (t) => {
  const checkpoint = openCheckpoint(folder('shards', { weight_map: { a: 's1.safetensors', b: 's2.safetensors' } }));
  t.deepEqual(checkpoint.names(), ['a', 'b']);
  t.deepEqual([...checkpoint.get('b')!.data], [2]);
});

test('a missing folder, a folder without weights and a pickle are explained', (t) => {
  t.throws(() => openCheckpoint(join(root, 'none')), { instanceOf: DeftuneError, message: /none: no such folder/ });
  const dir = folder('bare');
  t.throws(() => openCheckpoint(dir), { message: /found neither model.safetensors nor model.safetensors.index.json/ });
  writeFileSync(join(dir, 'pytorch_model.bin'), '');
  t.throws(() => openCheckpoint(dir), { message: /convert it to safetensors/ });
});

const wrong: [what: string, index: unknown, expected: RegExp][] = [
  ['no map', {}, /weight_map is undefined/],
  ['a list', [], /weight_map is undefined/],
  ['a map that is a list', { weight_map: [] }, /weight_map is \[\]/],
  ['a shard that is a number', { weight_map: { a: 1 } }, /weight_map "a" is 1/],
  ['a shard above', { weight_map: { a: '../single/model.safetensors' } }, /same folder/],
  ['a shard in a subfolder', { weight_map: { a: 'x/s1.safetensors' } }, /same folder/],
  ['an absolute shard', { weight_map: { a: '/s1.safetensors' } }, /same folder/],
  ['a Windows path', { weight_map: { a: '..\\s1.safetensors' } }, /same folder/],
  ['a drive', { weight_map: { a: 'C:s1.safetensors' } }, /same folder/],
  ['a shard of dots', { weight_map: { a: '..' } }, /same folder/],
  [
    'a missing shard',
    { weight_map: { a: 's3.safetensors' } },
    /"a" names s3.safetensors, but .*s3.safetensors does not exist/,
  ],
  ['a missing tensor', { weight_map: { b: 's1.safetensors' } }, /s1.safetensors: tensor "b" is missing/],
];

for (const [what, index, expected] of wrong) {
  test(`rejects an index with ${what}`, (t) => {
    const dir = folder(what.replaceAll(' ', '-'), index);
    t.throws(() => openCheckpoint(dir), { instanceOf: DeftuneError, message: expected });
  });
}
