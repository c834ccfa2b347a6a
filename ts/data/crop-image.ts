import type { RawImage } from './raw-image.js';

/**
 * Cuts out the middle, as transformers' `center_crop` does: a side that is too short is padded with black at both ends.
 *
 * @param height of the result, from 1
 * @param width of the result, from 1
 */
export function cropCenter(image: RawImage, height: number, width: number): RawImage {
  const { channels } = image;
  // Where the result begins in the image: before it, where the image is too small.
  const top = Math.floor((image.height - height) / 2);
  const left = Math.floor((image.width - width) / 2);
  const from = Math.max(0, left);
  const to = Math.min(image.width, left + width);
  const data = new Uint8ClampedArray(width * height * channels);
  for (let y = Math.max(0, -top); y < Math.min(height, image.height - top); y++) {
    const row = (y + top) * image.width;
    data.set(image.data.subarray((row + from) * channels, (row + to) * channels), (y * width + from - left) * channels);
  }
  return { width, height, channels, data };
}
