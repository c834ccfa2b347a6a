import type { Example, RaggedBatch } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import type { Head } from './head.js';
import { sequenceClassification } from './sequence-classification.js';

/** Labels an image. Logits [images, numLabels]. */
export const imageClassification: Head = {
  ...sequenceClassification,
  name: 'ImageClassification',
  taskType: null,

  claims: ({ label, image }) => label !== undefined && image !== undefined,

  /** The image is decoded when a batch needs it: a data set of decoded images may not fit in memory. */
  toExamples({ image }, label, { readImage, where }) {
    if (image === undefined) throw new DeftuneError(`${where}: image is missing, expected the path of an image`);
    if (!readImage) {
      throw new DeftuneError(`${where}: image needs a preprocessor_config.json, but the model's directory has none`);
    }
    const pixels = (): Promise<Float32Array> => readImage(image, where);
    return [{ inputIds: [], pixels, ...(label === undefined ? {} : { label }) }];
  },

  ready: (examples) =>
    Promise.all(
      examples.map(async (example) => ({ ...example, pixelValues: example.pixelValues ?? (await example.pixels?.()) })),
    ),

  collate(examples, { info }) {
    const tokens = info.tokensPerImage ?? 1;
    const size = examples.length;
    return {
      inputIds: new Int32Array(),
      tokenTypeIds: new Int32Array(),
      positionIds: Int32Array.from({ length: size * tokens }, (_, index) => index % tokens),
      cuSeqlens: Int32Array.from({ length: size + 1 }, (_, index) => index * tokens),
      pixelValues: examples.map(pixelsOf),
      labels: labelsOf(examples, info.numLabels === 1),
      size,
      tokens: size * tokens,
    };
  },
};

function pixelsOf({ pixelValues }: Example, index: number): Float32Array {
  if (pixelValues) return pixelValues;
  throw new DeftuneError(`example ${index} of the batch: pixelValues is missing, expected [channels, height, width]`);
}

function labelsOf(examples: readonly Example[], regression: boolean): RaggedBatch['labels'] {
  if (examples.some(({ label }) => label === undefined)) return undefined;
  const labels = examples.map(({ label }) => label as number);
  return regression ? Float32Array.from(labels) : Int32Array.from(labels);
}
