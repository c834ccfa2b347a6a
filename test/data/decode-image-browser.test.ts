// Node has no canvas: a stand-in holds decoded pixels, so that what is asked of the browser, and what is made of its answers, is tested.
import test from 'ava';
import { decodeImage } from '../../ts/data/decode-image-browser.js';
import { ImageProcessor } from '../../ts/data/image-processor.js';
import { DeftuneError } from '../../ts/error.js';

const asked: ImageBitmapOptions[] = [];
let closed = 0;
Object.assign(globalThis, {
  createImageBitmap: async (blob: Blob, options: ImageBitmapOptions) => {
    asked.push(options);
    const [width, height, ...data] = new Uint8Array(await blob.arrayBuffer());
    if (data.length !== width! * height! * 4) throw new Error('The source image could not be decoded.');
    return { width, height, data, close: () => (closed += 1) };
  },
  OffscreenCanvas: class {
    #data: number[] = [];
    getContext(kind: string) {
      return kind === '2d' ? this : null;
    }
    drawImage({ data }: { data: number[] }) {
      this.#data = data;
    }
    getImageData() {
      return { data: Uint8ClampedArray.from(this.#data) };
    }
  },
});

test.serial('decodes to RGBA, upright, without colour profiles, and frees the bitmap', async (t) => {
  const image = await decodeImage(Uint8Array.of(2, 1, 10, 20, 30, 255, 40, 50, 60, 255));
  t.deepEqual([image.width, image.height, image.channels], [2, 1, 4]);
  t.deepEqual(asked, [{ imageOrientation: 'from-image', colorSpaceConversion: 'none', premultiplyAlpha: 'none' }]);
  t.is(closed, 1);
  const processor = new ImageProcessor({ do_resize: false, do_rescale: false, do_normalize: false });
  t.deepEqual([...processor.process(image)], [10, 40, 20, 50, 30, 60]);
  t.deepEqual(await decodeImage(new Blob([Uint8Array.of(1, 1, 1, 2, 3, 4)])), {
    width: 1,
    height: 1,
    channels: 4,
    data: Uint8ClampedArray.of(1, 2, 3, 4),
  });
});

test.serial('what is no image is one line', async (t) => {
  await t.throwsAsync(decodeImage(Uint8Array.of(1, 2, 3), 'cat.png'), {
    instanceOf: DeftuneError,
    message: 'cat.png: 3 bytes cannot be decoded, expected an image such as JPEG, PNG or WebP',
  });
});
