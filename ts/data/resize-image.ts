import type { RawImage } from './raw-image.js';

// Pillow's resampling (libImaging/Resample.c, its 8-bit path), reproduced to the last level: one pass a direction, the result of
// each rounded to 8 bits, weights in fixed point. When an image shrinks, the filter is widened by the scale (antialiasing).

/** Bits behind the point of a weight: 32, less 8 of the pixel and 2 for sums beyond the range. */
const PRECISION = 22;

interface Filter {
  /** Half its width at scale 1. */
  support: number;
  weight(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Filters by Pillow's numbers, which `resample` in preprocessor_config.json holds; 0, the nearest pixel, needs none. */
const FILTERS: Readonly<Record<number, Filter>> = {
  // Lanczos
  1: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  // Bilinear
  2: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Bicubic, with a = -0.5
  3: {
    support: 2,
    weight(x) {
      const a = -0.5;
      const d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
  // Box
  4: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  // Hamming
  5: {
    support: 1,
    weight(x) {
      const d = Math.abs(x);
      return d >= 1 ? 0 : sinc(d) * (0.54 + 0.46 * Math.cos(d * Math.PI));
    },
  },
};

/** Numbers of the known filters. */
export const RESAMPLING: readonly number[] = [0, ...Object.keys(FILTERS).map(Number)];

/**
 * Resizes as `PIL.Image.resize` of Pillow 13 does, level for level. Earlier versions never begin with the height; where 13 does,
 * they differ: by 1 level with the bilinear filter, by more with those that overshoot.
 *
 * @param image any number of channels; alpha is treated like a colour
 * @param width of the result, from 1
 * @param height of the result, from 1
 * @param resample one of RESAMPLING: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming
 */
export function resizeImage(image: RawImage, width: number, height: number, resample: number): RawImage {
  if (image.width === width && image.height === height) return image;
  const filter = FILTERS[resample];
  if (!filter) return nearest(image, width, height);
  // Pillow 13 begins with the height where it shrinks by more than twice as many pixels as the width.
  const heightFirst = height < image.height && 2 * (image.width - width) < image.height - height;
  return heightFirst
    ? resizeColumns(resizeRows(image, height, filter), width, filter)
    : resizeRows(resizeColumns(image, width, filter), height, filter);
}

interface Weights {
  /** First pixel of each output pixel's window. */
  start: Int32Array;
  /** Pixels of each window. */
  count: Int32Array;
  /** Fixed-point weights, `stride` an output pixel. */
  weights: Int32Array;
  stride: number;
}

function weightsOf(inSize: number, outSize: number, filter: Filter): Weights {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(outSize);
  const count = new Int32Array(outSize);
  const weights = new Int32Array(outSize * stride);
  const exact = new Float64Array(stride);
  for (let out = 0; out < outSize; out++) {
    const center = (out + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const n = Math.min(inSize, Math.trunc(center + support + 0.5)) - first;
    let sum = 0;
    for (let i = 0; i < n; i++) {
      exact[i] = filter.weight((i + first - center + 0.5) * (1 / filterScale));
      sum += exact[i]!;
    }
    for (let i = 0; i < n; i++) {
      const weight = (sum === 0 ? exact[i]! : exact[i]! / sum) * (1 << PRECISION);
      weights[out * stride + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    start[out] = first;
    count[out] = n;
  }
  return { start, count, weights, stride };
}

/** Changes the width. */
function resizeColumns(image: RawImage, width: number, filter: Filter): RawImage {
  if (image.width === width) return image;
  const { height, channels, data: source } = image;
  const { start, count, weights, stride } = weightsOf(image.width, width, filter);
  const data = new Uint8ClampedArray(width * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * image.width + start[x]!) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (PRECISION - 1);
        for (let i = 0; i < count[x]!; i++) sum += source[from + i * channels + c]! * weights[x * stride + i]!;
        data[(y * width + x) * channels + c] = sum >> PRECISION;
      }
    }
  }
  return { width, height, channels, data };
}

/** Changes the height. */
function resizeRows(image: RawImage, height: number, filter: Filter): RawImage {
  if (image.height === height) return image;
  const { width, channels, data: source } = image;
  const { start, count, weights, stride } = weightsOf(image.height, height, filter);
  const row = width * channels;
  const data = new Uint8ClampedArray(row * height);
  const sums = new Int32Array(row);
  for (let y = 0; y < height; y++) {
    sums.fill(1 << (PRECISION - 1));
    for (let i = 0; i < count[y]!; i++) {
      const weight = weights[y * stride + i]!;
      const from = (start[y]! + i) * row;
      for (let x = 0; x < row; x++) sums[x]! += source[from + x]! * weight;
    }
    for (let x = 0; x < row; x++) data[y * row + x] = sums[x]! >> PRECISION;
  }
  return { width, height, channels, data };
}

function nearest(image: RawImage, width: number, height: number): RawImage {
  const { channels, data: source } = image;
  const columns = nearestOf(image.width, width);
  const rows = nearestOf(image.height, height);
  const data = new Uint8ClampedArray(width * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (rows[y]! * image.width + columns[x]!) * channels;
      for (let c = 0; c < channels; c++) data[(y * width + x) * channels + c] = source[from + c]!;
    }
  }
  return { width, height, channels, data };
}

/** Pillow adds the step up instead of multiplying, so the same rounding is needed to land on the same pixels. */
function nearestOf(inSize: number, outSize: number): Int32Array {
  const step = inSize / outSize;
  let at = step * 0.5;
  return Int32Array.from({ length: outSize }, () => {
    const index = Math.min(inSize - 1, Math.trunc(at));
    at += step;
    return index;
  });
}
