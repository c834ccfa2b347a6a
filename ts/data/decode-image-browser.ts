import { DeftuneError } from '../error.js';
import type { RawImage } from './raw-image.js';

/**
 * Decodes an image file with the browser's own decoders, turned upright as its EXIF orientation says and with colour profiles ignored.
 * Opaque images come out as in Node (JPEG decoders may differ by a level or two); where an image is transparent, a canvas keeps only
 * the colours as blended with its alpha.
 *
 * @param source a File, a response's Blob, or bytes
 * @param where names the image in messages
 * @returns RGBA, 4 channels
 * @throws DeftuneError `where: …` when it is no image that the browser knows
 */
export async function decodeImage(source: Blob | Uint8Array, where = 'image'): Promise<RawImage> {
  const blob = source instanceof Blob ? source : new Blob([source.slice()]);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: 'from-image',
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
    });
  } catch (cause) {
    throw new DeftuneError(
      `${where}: ${blob.size} bytes cannot be decoded, expected an image such as JPEG, PNG or WebP`,
      { cause },
    );
  }
  const { width, height } = bitmap;
  try {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (!context) throw new DeftuneError(`${where}: this browser has no 2d canvas, expected one to decode images with`);
    context.drawImage(bitmap, 0, 0);
    return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
  } finally {
    bitmap.close();
  }
}
