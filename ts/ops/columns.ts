import { record, recordOne } from '../autograd/node.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Columns of x in parts, left to right: q, k and v of a fused projection.
 *
 * @param x [..., sum of the widths]
 * @returns one [..., width] for each width
 */
export function splitCols(x: Tensor, widths: readonly number[]): Tensor[] {
  const { backend } = x;
  const starts = startsOf(widths);
  const outputs = widths.map(
    (width, index) =>
      [backend.sliceCols(x.handle, starts[index] as number, width), [...x.shape.slice(0, -1), width]] as const,
  );
  return record('splitCols', backend, [x], outputs, (grads) => {
    const dx = backend.zeros(x.rows, x.cols);
    grads.forEach((grad, index) => {
      if (grad) backend.putCols(dx, grad, starts[index] as number);
    });
    return [dx];
  });
}

/** Matrices side by side: [..., a] and [..., b] give [..., a + b]. */
export function concatCols(parts: readonly [Tensor, ...Tensor[]]): Tensor {
  const [{ backend, rows, shape }] = parts;
  const starts = startsOf(parts.map(({ cols }) => cols));
  const width = parts.reduce((sum, { cols }) => sum + cols, 0);
  const out = backend.zeros(rows, width);
  parts.forEach((part, index) => backend.putCols(out, part.handle, starts[index] as number));
  return recordOne('concatCols', backend, parts, out, [...shape.slice(0, -1), width], (dOut) =>
    parts.map(({ cols, requiresGrad }, index) =>
      requiresGrad ? backend.sliceCols(dOut, starts[index] as number, cols) : 0,
    ),
  );
}

/**
 * y[r, c] = x[r, c] · factors[c] (IA3). MLP activations stay MLP activations.
 *
 * @param x [..., cols]
 * @param factors [cols]
 */
export function scaleCols(x: Tensor, factors: Tensor): Tensor {
  const { backend } = x;
  const out = backend.scaleCols(x.handle, factors.handle, 0);
  return recordOne('scaleCols', backend, [x, factors], out, x.shape, (dy) => [
    x.requiresGrad ? backend.scaleCols(dy, factors.handle, 0) : 0,
    factors.requiresGrad ? backend.sumProducts(dy, x.handle) : 0,
  ]);
}

function startsOf(widths: readonly number[]): number[] {
  let start = 0;
  return widths.map((width) => (start += width) - width);
}
