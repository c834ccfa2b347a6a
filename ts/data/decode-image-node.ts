import { DeftuneError } from '../error.js';
import { readBytes } from '../io/files-node.js';
import type { RawImage } from './raw-image.js';

/**
 * Decodes an image file (JPEG, PNG, WebP, GIF, TIFF, AVIF; of an animation the first picture), as `load_image` of transformers does:
 * turned upright as its EXIF orientation says, colour profiles ignored, alpha dropped without blending. Images with 4 inks (CMYK)
 * are converted by their profile, so their colours differ from Pillow's.
 *
 * @param source the path of a file, or the bytes of one
 * @param where names the record in messages
 * @returns RGB, 3 channels
 * @throws DeftuneError `where: …` when the file is missing, cut off or no image
 */
export async function decodeImage(source: string | Uint8Array, where: string): Promise<RawImage> {
  const sharp = await loadSharp();
  const name = typeof source === 'string' ? source : `an image of ${source.length} bytes`;
  try {
    const bytes = typeof source === 'string' ? readBytes(source) : source;
    const { data, info } = await sharp(bytes, { autoOrient: true, failOn: 'error', ignoreIcc: true })
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: info.channels, data };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    // readBytes names the file already.
    const what = cause instanceof DeftuneError ? why : `${name} cannot be decoded (${why})`;
    throw new DeftuneError(`${where}: ${what}, expected an image such as JPEG, PNG or WebP`, { cause });
  }
}

/** Loaded when the first image comes, because it is a large native library. */
async function loadSharp(): Promise<typeof import('sharp').default> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new DeftuneError('images need the package sharp, which could not be loaded; expected it in node_modules', {
      cause,
    });
  }
}
