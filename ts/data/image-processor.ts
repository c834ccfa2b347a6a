import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { validate } from '../io/validate.js';
import { cropCenter } from './crop-image.js';
import { sizeSchema, targetSize, type ImageSize } from './image-size.js';
import type { RawImage } from './raw-image.js';
import { RESAMPLING, resizeImage } from './resize-image.js';
import { toRgb } from './to-rgb.js';

const CHANNELS = 3;

/** One number, or one a channel. */
const perChannel = z.union(
  [z.number().transform((value) => [value, value, value]), z.tuple([z.number(), z.number(), z.number()])],
  'expected a number, or 3 numbers, one a channel',
);

// Fields that are null count as absent, as in transformers; others are ignored.
const flag = z.boolean('expected true or false').nullish();
const schema = z.looseObject({
  do_resize: flag,
  size: sizeSchema.nullish(),
  resample: z.literal([...RESAMPLING], `expected one of ${RESAMPLING.join(', ')}`).nullish(),
  do_center_crop: flag,
  crop_size: sizeSchema.nullish(),
  do_rescale: flag,
  rescale_factor: z.number('expected a number').nullish(),
  do_normalize: flag,
  image_mean: perChannel.nullish(),
  image_std: perChannel.refine((values) => values.every((value) => value > 0), 'expected numbers above 0').nullish(),
  do_pad: z.literal(false, 'expected false: padding of images is not supported').nullish(),
});

/**
 * Turns images into what a vision model reads, as preprocessor_config.json says: resize, crop, rescale, normalise.
 *
 * It follows transformers' `ViTImageProcessor` with `use_fast=False` (`ViTImageProcessorPil` in version 5), whose resizing is
 * Pillow's; pixel values are equal to it bit for bit. The fast processor resizes with torchvision: 1 level of 255 away with the
 * bilinear filter, more with the bicubic one. Fields that are absent have ViT's defaults: 224 by 224, bilinear, rescaled by 1/255, mean and deviation 0.5.
 */
export class ImageProcessor {
  readonly #resize: ImageSize | undefined;
  readonly #resample: number;
  readonly #crop: { height: number; width: number } | undefined;
  /** What each level of each channel becomes, [channels * 256]: rescaling and normalising see only the level. */
  readonly #values: Float32Array;

  /**
   * @param config the parsed preprocessor_config.json
   * @param fileName its name, for messages
   * @throws DeftuneError `file: field is …, expected …`
   */
  constructor(config: unknown = {}, fileName = 'preprocessor_config.json') {
    const fields = validate(schema, config, fileName);
    const size = fields.size ?? { height: 224, width: 224 };
    this.#resize = (fields.do_resize ?? true) ? size : undefined;
    this.#resample = fields.resample ?? 2;
    if (fields.do_center_crop ?? false) {
      const crop = fields.crop_size ?? size;
      if (!('height' in crop))
        throw new DeftuneError(`${fileName}: crop_size is ${JSON.stringify(crop)}, expected {"height", "width"}`);
      this.#crop = crop;
    }
    this.#values = valuesOf(
      (fields.do_rescale ?? true) ? (fields.rescale_factor ?? 1 / 255) : undefined,
      (fields.do_normalize ?? true)
        ? { mean: fields.image_mean ?? [0.5, 0.5, 0.5], std: fields.image_std ?? [0.5, 0.5, 0.5] }
        : undefined,
    );
  }

  /**
   * The image at the size that the model reads, in 8 bits: much smaller to keep than its pixel values.
   *
   * @param image with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels; alpha is dropped, not blended, as
   *   `convert('RGB')` of Pillow does
   * @param where names the image in messages
   * @returns 3 channels
   * @throws DeftuneError when it has another number of channels, no pixels, or not as many data as its size says
   */
  fit(image: RawImage, where = 'image'): RawImage {
    let fitted = toRgb(image, where);
    if (this.#resize) {
      const { height, width } = targetSize(this.#resize, fitted.height, fitted.width);
      fitted = resizeImage(fitted, width, height, this.#resample);
    }
    return this.#crop ? cropCenter(fitted, this.#crop.height, this.#crop.width) : fitted;
  }

  /** Pixel values [channels, height, width] of an image that `fit` returned. */
  pixelValues({ width, height, data }: RawImage): Float32Array {
    const plane = width * height;
    const values = new Float32Array(CHANNELS * plane);
    for (let c = 0; c < CHANNELS; c++) {
      for (let i = 0; i < plane; i++) values[c * plane + i] = this.#values[c * 256 + data[i * CHANNELS + c]!]!;
    }
    return values;
  }

  /** Pixel values [channels, height, width] of any image: `fit`, then `pixelValues`. @throws DeftuneError as fit does. */
  process(image: RawImage, where?: string): Float32Array {
    return this.pixelValues(this.fit(image, where));
  }
}

/** Rounds where transformers does: rescaling is done in double precision and stored in single, normalising is all in single. */
function valuesOf(factor: number | undefined, normal: { mean: number[]; std: number[] } | undefined): Float32Array {
  return Float32Array.from({ length: CHANNELS * 256 }, (_, i) => {
    const [channel, level] = [i >> 8, i & 255];
    const value = Math.fround(factor === undefined ? level : level * factor);
    if (!normal) return value;
    const mean = Math.fround(normal.mean[channel]!);
    return Math.fround(value - mean) / Math.fround(normal.std[channel]!);
  });
}
