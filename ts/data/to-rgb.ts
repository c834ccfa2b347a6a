import { DeftuneError } from '../error.js';
import type { RawImage } from './raw-image.js';

/**
 * An image with 3 channels: grey is repeated, alpha is dropped without blending, as `convert('RGB')` of Pillow does.
 *
 * @param where names the image in messages
 * @throws DeftuneError when it has not 1 to 4 channels, no pixels, or not as many data as its size says
 */
export function toRgb(image: RawImage, where: string): RawImage {
  const { width, height, channels, data } = image;
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new DeftuneError(`${where}: the image is ${width} by ${height} pixels, expected at least 1 by 1`);
  }
  if (!(Number.isInteger(channels) && channels >= 1 && channels <= 4)) {
    throw new DeftuneError(
      `${where}: the image has ${channels} channels, expected 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha)`,
    );
  }
  const pixels = width * height;
  if (data.length !== pixels * channels) {
    throw new DeftuneError(
      `${where}: the image has ${data.length} bytes, expected ${pixels * channels} for ${width} by ${height} pixels of ${channels} channels`,
    );
  }
  if (channels === 3) return image;
  const rgb = new Uint8Array(pixels * 3);
  // Green and blue of a grey image are its one colour.
  const step = channels === 4 ? 1 : 0;
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = data[i * channels + c * step]!;
  }
  return { width, height, channels: 3, data: rgb };
}
