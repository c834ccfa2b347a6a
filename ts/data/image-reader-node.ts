import { join } from 'node:path';
import { fileExists, readJson } from '../io/files-node.js';
import { decodeImage } from './decode-image-node.js';
import { ImageProcessor } from './image-processor.js';
import type { RawImage } from './raw-image.js';
import type { DataRecord } from './record.js';

type Image = NonNullable<DataRecord['image']>;

/** Images decoded at the same time when a file is checked; libvips has threads of its own. */
const AT_ONCE = 16;

/** Options of ImageReader. */
export interface ImageReaderOptions {
  /** Bytes of decoded images that are kept, 3 a pixel at the model's size; default 512 MiB. Others are decoded again when asked for. */
  cacheBytes?: number | undefined;
}

/** Reads the images of records as a model's preprocessor_config.json says, and keeps what it can for the next epoch. */
export class ImageReader {
  readonly #processor: ImageProcessor;
  readonly #kept = new Map<Image, RawImage>();
  #room: number;

  constructor(processor: ImageProcessor, { cacheBytes = 512 * 2 ** 20 }: ImageReaderOptions = {}) {
    this.#processor = processor;
    this.#room = cacheBytes;
  }

  /**
   * The reader of a model's directory.
   *
   * @returns undefined where it has no preprocessor_config.json
   * @throws DeftuneError when that file is wrong
   */
  static fromPretrained(dir: string, options: ImageReaderOptions = {}): ImageReader | undefined {
    const path = join(dir, 'preprocessor_config.json');
    return fileExists(path) ? new ImageReader(new ImageProcessor(readJson(path), path), options) : undefined;
  }

  /**
   * Pixel values [channels, height, width] of an image.
   *
   * @param where `file:line` of its record, for messages
   * @throws DeftuneError `where: …` when it cannot be decoded
   */
  readonly read = async (image: Image, where: string): Promise<Float32Array> =>
    this.#processor.pixelValues(await this.#fitted(image, where));

  /**
   * Decodes every image of a file once, so that a bad one is found before a run and not in its midst.
   *
   * @throws DeftuneError naming the first record whose image cannot be decoded
   */
  async check(records: readonly DataRecord[], fileName: string): Promise<void> {
    for (let start = 0; start < records.length; start += AT_ONCE) {
      const results = await Promise.allSettled(
        records.slice(start, start + AT_ONCE).map(async ({ image, line }) => {
          if (image !== undefined) await this.#fitted(image, `${fileName}:${line}`);
        }),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    }
  }

  async #fitted(image: Image, where: string): Promise<RawImage> {
    const kept = this.#kept.get(image);
    if (kept) return kept;
    const isEncoded = typeof image === 'string' || image instanceof Uint8Array;
    const fitted = this.#processor.fit(isEncoded ? await decodeImage(image, where) : image, where);
    if (fitted !== image && fitted.data.length <= this.#room) {
      this.#room -= fitted.data.length;
      this.#kept.set(image, fitted);
    }
    return fitted;
  }
}
