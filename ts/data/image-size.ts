import { z } from 'zod';
import { roundHalfToEven } from './round-half-to-even.js';

const edge = z
  .int('expected a whole number of pixels')
  .min(1, 'expected at least 1 pixel')
  .max(65_535, 'expected at most 65535 pixels');

/** Target sizes of preprocessor_config.json; one number is a square, as ViT's processors take it. */
export const sizeSchema = z.union(
  [
    edge.transform((value) => ({ height: value, width: value })),
    z.strictObject({ height: edge, width: edge }),
    z.strictObject({ shortest_edge: edge }),
    z.strictObject({ shortest_edge: edge, longest_edge: edge }),
    z.strictObject({ max_height: edge, max_width: edge }),
  ],
  'expected {"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"} or {"max_height", "max_width"} in pixels',
);

/** A target size as sizeSchema gives it. */
export type ImageSize = z.output<typeof sizeSchema>;

/** The height and width that an image is resized to. Fractions of a pixel are cut off where transformers cuts them off. */
export function targetSize(size: ImageSize, height: number, width: number): { height: number; width: number } {
  if ('height' in size) return size;
  if ('max_height' in size) {
    const scale = Math.min(size.max_height / height, size.max_width / width);
    return { height: Math.max(1, Math.trunc(height * scale)), width: Math.max(1, Math.trunc(width * scale)) };
  }
  if ('longest_edge' in size) return withinEdges(size.shortest_edge, size.longest_edge, height, width);
  const short = size.shortest_edge;
  const long = Math.trunc((short * Math.max(height, width)) / Math.min(height, width));
  return width <= height ? { height: long, width: short } : { height: short, width: long };
}

/** transformers' get_size_with_aspect_ratio. */
function withinEdges(
  shortest: number,
  longest: number,
  height: number,
  width: number,
): { height: number; width: number } {
  let short = shortest;
  let exact: number | undefined;
  const [smaller, larger] = [Math.min(height, width), Math.max(height, width)];
  if ((larger / smaller) * short > longest) {
    exact = (longest * smaller) / larger;
    short = roundHalfToEven(exact);
  }
  if ((width <= height && width === short) || (height <= width && height === short)) return { height, width };
  const long = (side: number, other: number): number => Math.trunc(((exact ?? short) * side) / other);
  return width < height ? { height: long(height, width), width: short } : { height: short, width: long(width, height) };
}
