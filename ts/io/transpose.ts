/** Side of the square blocks that are transposed one after another, so that both arrays stay in the cache. */
const BLOCK = 32;

/**
 * The transpose of a matrix.
 *
 * @param values [rows, cols]; bits of any kind of number, one an element
 * @returns [cols, rows]
 */
export function transpose<T extends Float32Array | Uint32Array | Uint16Array>(
  values: T,
  rows: number,
  cols: number,
): T {
  const result = values.slice() as T;
  for (let top = 0; top < rows; top += BLOCK) {
    const bottom = Math.min(rows, top + BLOCK);
    for (let left = 0; left < cols; left += BLOCK) {
      const right = Math.min(cols, left + BLOCK);
      for (let row = top; row < bottom; row++) {
        for (let col = left; col < right; col++) result[col * rows + row] = values[row * cols + col] as number;
      }
    }
  }
  return result;
}
