import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { cifar10Records } from '../../ts/data/cifar10-records.js';
import { ImageProcessor } from '../../ts/data/image-processor.js';
import { ImageReader } from '../../ts/data/image-reader-node.js';
import type { RawImage } from '../../ts/data/raw-image.js';
import { readRecordFiles, readRecords } from '../../ts/data/records-node.js';
import { findTaskFiles } from '../../ts/data/task-files-node.js';
import { getTask } from '../../ts/data/tasks/index.js';
import { recordOptions } from '../../ts/data/tasks/record-options.js';
import { DeftuneError } from '../../ts/error.js';

const pictures = fileURLToPath(new URL('../fixtures/images/', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'deftune-image-records-'));
test.after.always(() => rmSync(root, { recursive: true }));
let count = 0;
/** A folder with copies of a picture under these names, and other files. */
function folder(names: readonly string[], other: Record<string, string | Uint8Array> = {}): string {
  const dir = join(root, `d${count++}`);
  mkdirSync(dir);
  for (const name of [...names, ...Object.keys(other)]) mkdirSync(dirname(join(dir, name)), { recursive: true });
  for (const name of names) cpSync(join(pictures, 'rgb.png'), join(dir, name));
  for (const [name, content] of Object.entries(other)) writeFileSync(join(dir, name), content);
  return dir;
}

/** A record of CIFAR-10: planes of red, green and blue, each pixel telling where it is. */
function cifar(label: number): Uint8Array {
  const record = new Uint8Array(3073);
  record[0] = label;
  for (let i = 0; i < 3072; i++) record[1 + i] = (Math.floor(i / 1024) * 80 + (i % 1024)) % 256;
  return record;
}

test('CIFAR-10: planes become pixels, labels are names where the file of names is there', async (t) => {
  const dir = folder([], {
    'data_batch_1.bin': Buffer.concat([cifar(3), cifar(9)]),
    'data_batch_2.bin': cifar(0),
    'test_batch.bin': cifar(1),
  });
  const task = getTask('cifar10');
  const files = findTaskFiles(task, dir);
  const { records } = await readRecordFiles(files.train, recordOptions(task));
  t.deepEqual(
    records.map(({ label, line }) => [label, line]),
    [
      [3, 1],
      [9, 2],
      [0, 3],
    ],
  );
  const image = records[0]?.image as RawImage;
  t.deepEqual([image.width, image.height, image.channels], [32, 32, 3]);
  t.deepEqual([...image.data.slice(0, 6)], [0, 80, 160, 1, 81, 161]);
  writeFileSync(join(dir, 'batches.meta.txt'), 'airplane\r\nautomobile\r\n\r\n');
  t.is((await readRecords(join(dir, 'test_batch.bin')))[0]?.label, 'automobile');
  await t.throwsAsync(readRecords(join(dir, 'data_batch_1.bin')), {
    instanceOf: DeftuneError,
    message: /data_batch_1\.bin:1: the label byte is 3, expected 0 to 1$/,
  });
});

test('CIFAR-10: what is wrong is named with its record', (t) => {
  t.throws(() => cifar10Records(Buffer.concat([cifar(1), cifar(10)]), 'f.bin'), {
    instanceOf: DeftuneError,
    message: 'f.bin:2: the label byte is 10, expected 0 to 9',
  });
  t.throws(() => cifar10Records(Buffer.concat([cifar(1), cifar(2).slice(0, 100)]), 'f.bin'), {
    message:
      'f.bin:2: the record has 100 bytes, expected 3073 (1 label, 3 planes of 32 by 32); the file may be cut off',
  });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 8000 }), (bytes) => {
      try {
        return cifar10Records(bytes, 'f').length === bytes.length / 3073;
      } catch (error) {
        return error instanceof DeftuneError;
      }
    }),
    { seed: 2 },
  );
});

test('an image folder: a class a folder, sorted, hidden files left out', async (t) => {
  const dir = folder(['train/cat/b.png', 'train/cat/a.PNG', 'train/dog/deep/c.jpg', 'valid/dog/x.webp'], {
    'train/cat/notes.txt': 'x',
    'train/.DS_Store': '',
  });
  const task = getTask('image-folder');
  const files = findTaskFiles(task, dir);
  const { records } = await readRecordFiles(files.train, recordOptions(task));
  t.deepEqual(records, [
    { image: join(dir, 'train/cat/a.PNG'), label: 'cat', line: 1 },
    { image: join(dir, 'train/cat/b.png'), label: 'cat', line: 2 },
    { image: join(dir, 'train/dog/deep/c.jpg'), label: 'dog', line: 3 },
  ]);
  t.deepEqual(files.validation[0]?.paths, [`${dir}/valid`]);
  t.deepEqual(await readRecords(join(dir, 'valid')), [{ image: join(dir, 'valid/dog/x.webp'), label: 'dog', line: 1 }]);
  // Images alone have no labels: they are for predictions.
  t.deepEqual(await readRecords(join(dir, 'train/dog/deep')), [{ image: join(dir, 'train/dog/deep/c.jpg'), line: 1 }]);
});

test('an image folder that is none', async (t) => {
  const dir = folder(['train/cat/a.png', 'train/x.png', 'valid/cat/b.png', 'valid/dog/t.txt', 'empty/t.txt']);
  rmSync(join(dir, 'empty/t.txt'));
  rmSync(join(dir, 'valid/dog/t.txt'));
  await t.throwsAsync(readRecords(join(dir, 'train')), {
    instanceOf: DeftuneError,
    message: /train: the image x\.png is beside the folder cat, expected either images or one folder for each class$/,
  });
  await t.throwsAsync(readRecords(join(dir, 'valid')), { message: /valid.dog: no images, expected JPEG/ });
  await t.throwsAsync(readRecords(join(dir, 'empty')), { message: /empty: no records, expected at least 1$/ });
  rmSync(join(dir, 'empty'), { recursive: true });
  await t.throwsAsync(readRecords(dir), { message: /the folder holds train, valid, expected the folders of classes/ });
});

test('a record file with one bad image is refused, naming the line', async (t) => {
  const lines = ['a.png', 'sub/b.png', 'bad.png', 'none.png'].map((image) => JSON.stringify({ image, label: 0 }));
  const dir = folder(['a.png', 'sub/b.png'], { 'bad.png': 'no image', 'r.jsonl': lines.join('\n') });
  const path = join(dir, 'r.jsonl');
  const records = await readRecords(path);
  const reader = new ImageReader(new ImageProcessor({ size: 4 }));
  await t.notThrowsAsync(reader.check(records.slice(0, 2), path));
  await t.throwsAsync(reader.check(records, path), {
    instanceOf: DeftuneError,
    message: /r\.jsonl:3: .*bad\.png cannot be decoded \(.*\), expected an image such as JPEG, PNG or WebP$/,
  });
  await t.throwsAsync(reader.read(join(dir, 'none.png'), 'r.jsonl:4'), {
    message: /^r\.jsonl:4: .*none\.png: cannot read/,
  });
});

test('the same pixel values from a path, its bytes, its pixels, and the second time', async (t) => {
  const path = join(pictures, 'rgb.png');
  const bytes = new Uint8Array(readFileSync(path));
  const processor = new ImageProcessor({ size: { height: 5, width: 6 } });
  const reader = new ImageReader(processor);
  const values = await reader.read(path, 'x');
  t.is(values.length, 3 * 5 * 6);
  t.deepEqual(await reader.read(bytes, 'x'), values);
  t.deepEqual(await reader.read(path, 'x'), values);
  t.deepEqual(await new ImageReader(processor, { cacheBytes: 0 }).read(path, 'x'), values);
});

test('what is kept is not decoded again, what has no room is', async (t) => {
  const dir = folder(['a.png']);
  const path = join(dir, 'a.png');
  const processor = new ImageProcessor({ size: 4 });
  const [keeps, forgets] = [new ImageReader(processor), new ImageReader(processor, { cacheBytes: 47 })];
  const values = await keeps.read(path, 'x');
  await forgets.read(path, 'x');
  rmSync(path);
  t.deepEqual(await keeps.read(path, 'x'), values);
  await t.throwsAsync(forgets.read(path, 'x'), { message: /no such file/ });
});

test('the reader of a directory', (t) => {
  const dir = folder([], {
    'a/preprocessor_config.json': '{"size":{"height":8,"width":8}}',
    'b/preprocessor_config.json': '{"size":-1}',
  });
  t.true(ImageReader.fromPretrained(join(dir, 'a')) instanceof ImageReader);
  t.is(ImageReader.fromPretrained(dir), undefined);
  t.throws(() => ImageReader.fromPretrained(join(dir, 'b')), {
    message: /b.preprocessor_config\.json: size is -1, expected/,
  });
});

const shared = process.env['DEFTUNE_SHARED'] ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const cifar10 = join(shared, 'data', 'cifar10');
(existsSync(cifar10) ? test : test.skip)('reads CIFAR-10 whole', async (t) => {
  const task = getTask('cifar10');
  const files = findTaskFiles(task, cifar10);
  const { records } = await readRecordFiles(files.validation[0]?.paths ?? [], recordOptions(task));
  t.is(records.length, 2000);
  const counts = new Map<unknown, number>();
  for (const { label } of records) counts.set(label, (counts.get(label) ?? 0) + 1);
  t.deepEqual(
    [...counts].sort(),
    task.labelNames.map((name) => [name, 200]),
  );
  t.is((await readRecordFiles(files.train, recordOptions(task))).records.length, 10_000);
});
