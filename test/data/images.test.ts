import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { cropCenter } from '../../ts/data/crop-image.js';
import { decodeImage } from '../../ts/data/decode-image-node.js';
import { ImageProcessor } from '../../ts/data/image-processor.js';
import type { RawImage } from '../../ts/data/raw-image.js';
import { resizeImage } from '../../ts/data/resize-image.js';
import { DeftuneError } from '../../ts/error.js';

type Size = [width: number, height: number];
const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const reference = JSON.parse(readFileSync(join(fixtures, 'images.json'), 'utf8')) as {
  resizes: { from: Size; to: Size; resample: number; sha256: string }[];
  processed: { config: object; size: Size; shape: number[]; sha256: string; values?: string }[];
  decoded: Record<string, { width: number; height: number; data: string }>;
};

/** The formula of make_images.py. */
function pattern([width, height]: Size, channels = 3): RawImage {
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < channels; c++, i++) {
        const edge = ((Math.floor(x / 5) + Math.floor(y / 3)) % 2) * 120;
        data[i] = (x * 7 + y * 13 + c * 29 + ((x * y) % 251) + edge) % 256;
      }
  return { width, height, channels, data };
}

const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

test('every level of every resized image is that of Pillow', (t) => {
  t.true(reference.resizes.length > 70);
  for (const { from, to, resample, sha256 } of reference.resizes) {
    const { width, height, data } = resizeImage(pattern(from), ...to, resample);
    t.deepEqual([width, height], to);
    t.is(digest(bytesOf(data)), sha256, `${from.join('x')} to ${to.join('x')}, filter ${resample}`);
  }
});

test("pixel values are those of transformers' ViTImageProcessor, bit for bit", (t) => {
  t.true(reference.processed.length > 30);
  for (const { config, size, shape, sha256, values } of reference.processed) {
    const what = `${JSON.stringify(config)} on ${size.join('x')}`;
    const found = new ImageProcessor(config).process(pattern(size));
    t.is(
      found.length,
      shape.reduce((a, b) => a * b),
      what,
    );
    if (values) {
      const expected = new Float32Array(new Uint8Array(Buffer.from(values, 'base64')).buffer);
      found.forEach((value, i) => {
        if (Math.abs(value - expected[i]!) > 1e-6) t.fail(`${what}: value ${i} is ${value}, expected ${expected[i]}`);
      });
    }
    t.is(digest(bytesOf(found)), sha256, what);
  }
});

test('grey images are repeated, alpha is dropped', (t) => {
  const processor = new ImageProcessor({ do_resize: false, do_rescale: false, do_normalize: false });
  const one = (channels: number, ...data: number[]): number[] => [
    ...processor.process({ width: 1, height: 1, channels, data: Uint8Array.from(data) }),
  ];
  t.deepEqual(one(1, 7), [7, 7, 7]);
  t.deepEqual(one(2, 7, 0), [7, 7, 7]);
  t.deepEqual(one(3, 1, 2, 3), [1, 2, 3]);
  t.deepEqual(one(4, 1, 2, 3, 0), [1, 2, 3]);
});

test('images that are none', (t) => {
  const process = (image: Partial<RawImage>) => (): void => {
    new ImageProcessor().fit({ width: 1, height: 1, channels: 3, data: new Uint8Array(3), ...image }, 'f.jsonl:3');
  };
  t.throws(process({ channels: 5, data: new Uint8Array(5) }), {
    instanceOf: DeftuneError,
    message: 'f.jsonl:3: the image has 5 channels, expected 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha)',
  });
  t.throws(process({ channels: 0 }), { message: /has 0 channels/ });
  t.throws(process({ width: 0 }), { message: /is 0 by 1 pixels, expected at least 1 by 1/ });
  t.throws(process({ data: new Uint8Array(2) }), {
    message: /has 2 bytes, expected 3 for 1 by 1 pixels of 3 channels/,
  });
});

test('settings that are wrong', (t) => {
  const wrong: [config: unknown, message: RegExp][] = [
    [{ size: { height: 0, width: 3 } }, /^p\.json: size.* expected/],
    [{ size: { depth: 3 } }, /^p\.json: size is \{"depth":3\}, expected \{"height", "width"\}/],
    [{ resample: 9 }, /^p\.json: resample is 9, expected one of 0, 1, 2, 3, 4, 5/],
    [{ do_resize: 'yes' }, /^p\.json: do_resize is "yes", expected true or false/],
    [{ image_mean: [0.5] }, /^p\.json: image_mean is \[0.5\], expected a number, or 3 numbers/],
    [{ image_std: [0, 1, 1] }, /^p\.json: image_std is \[0,1,1\], expected numbers above 0/],
    [{ do_pad: true }, /^p\.json: do_pad is true, expected false/],
    [
      { do_center_crop: true, crop_size: { shortest_edge: 3 } },
      /^p\.json: crop_size is \{"shortest_edge":3\}, expected/,
    ],
    [[], /^p\.json: /],
    [null, /^p\.json: /],
  ];
  for (const [config, message] of wrong) {
    const error = t.throws(() => new ImageProcessor(config, 'p.json'), { instanceOf: DeftuneError, message });
    t.false(error?.message.includes('\n'));
  }
  t.notThrows(() => new ImageProcessor({ size: 224, resample: null, image_mean: null, feature_extractor_type: 'x' }));
});

test('a crop larger than the image is padded, the odd pixel first', (t) => {
  const { data } = cropCenter({ width: 1, height: 1, channels: 1, data: Uint8Array.of(9) }, 2, 2);
  t.deepEqual([...data], [0, 0, 0, 9]);
});

for (const [name, { width, height, data }] of Object.entries(reference.decoded)) {
  test(`decodes ${name} as transformers' load_image`, async (t) => {
    const image = await decodeImage(join(fixtures, 'images', name), 'x');
    t.deepEqual([image.width, image.height, image.channels], [width, height, 3]);
    t.is(Buffer.from(image.data).toString('base64'), data);
  });
}

const dir = mkdtempSync(join(tmpdir(), 'deftune-images-'));
test.after.always(() => rmSync(dir, { recursive: true }));

test('files that are no image', async (t) => {
  const at = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  await t.throwsAsync(decodeImage(join(dir, 'none.png'), 'f.jsonl:2'), {
    instanceOf: DeftuneError,
    message: /^f\.jsonl:2: .*none\.png: cannot read: no such file or folder, expected an image/,
  });
  await t.throwsAsync(decodeImage(at('text.png', 'hello'), 'f.jsonl:2'), {
    message: /^f\.jsonl:2: .*text\.png cannot be decoded \(.*\), expected an image such as JPEG, PNG or WebP$/,
  });
  await t.throwsAsync(decodeImage(at('empty.jpg', ''), 'f.jsonl:2'), { message: /empty\.jpg cannot be decoded/ });
  await t.throwsAsync(decodeImage(Uint8Array.of(1, 2, 3), 'f.parquet:9'), {
    message: /^f\.parquet:9: an image of 3 bytes cannot be decoded/,
  });
  for (const name of ['rgb.png', 'rgb.jpg', 'lossless.webp']) {
    const whole = new Uint8Array(readFileSync(join(fixtures, 'images', name)));
    await t.throwsAsync(decodeImage(whole.slice(0, whole.length * 0.6), 'x'), { instanceOf: DeftuneError }, name);
  }
});

test('damaged images give pixels or one line', async (t) => {
  for (const name of ['rgb.png', 'subsampled.jpg', 'palette.gif', 'lossless.webp', 'rgb.tiff', 'orientation-6.jpg']) {
    const whole = new Uint8Array(readFileSync(join(fixtures, 'images', name)));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        async (changes) => {
          const content = whole.slice();
          for (const [index, value] of changes) content[index] = value;
          try {
            const { width, height, channels, data } = await decodeImage(content, 'f:1');
            if (data.length !== width * height * channels || channels !== 3) throw new Error('wrong form');
          } catch (error) {
            if (!(error instanceof DeftuneError) || !error.message.startsWith('f:1: ')) throw error;
          }
        },
      ),
      { seed: 3, numRuns: 80 },
    );
  }
  t.pass();
});
