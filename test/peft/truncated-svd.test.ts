// The largest singular values against what a matrix was made of, and what must hold of their vectors.
import test from 'ava';
import { Rng } from '../../ts/data/rng.js';
import { leadingColumns, sketchedSvd, truncatedSvd, type Matrix } from '../../ts/peft/truncated-svd.js';

function orthonormal(rng: Rng, count: number, length: number): Float64Array[] {
  const values = Float64Array.from({ length: length * count }, () => rng.nextNormal());
  return leadingColumns({ values, rows: length, cols: count }, count, rng);
}

/** U · diag(values) · Vᵀ of random U and V. */
function matrixOf(rng: Rng, rows: number, cols: number, singular: readonly number[]): Matrix {
  const [left, right] = [orthonormal(rng, singular.length, rows), orthonormal(rng, singular.length, cols)];
  const values = new Float64Array(rows * cols);
  singular.forEach((value, index) => {
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        values[row * cols + col]! += value * (left[index]?.[row] ?? 0) * (right[index]?.[col] ?? 0);
      }
    }
  });
  return { values, rows, cols };
}

const product = (a: Float64Array, b: Float64Array): number =>
  a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);

const CASES: [name: string, rows: number, cols: number, singular: number[], rank: number][] = [
  ['tall', 90, 40, Array.from({ length: 40 }, (_, index) => 5 / (1 + index)), 4],
  ['wide, a slow decay', 50, 130, Array.from({ length: 50 }, (_, index) => 0.99 ** index), 6],
  ['repeated values', 60, 60, [3, 3, 3, ...new Array<number>(57).fill(1)], 3],
  ['of lower rank than asked for', 30, 20, [2, 1], 5],
  ['all of them', 8, 12, [9, 7, 4, 3, 2, 1, 0.5, 0.1], 8],
];

for (const [name, rows, cols, singular, rank] of CASES) {
  test(`the largest singular values: ${name}`, (t) => {
    const matrix = matrixOf(new Rng(7), rows, cols, singular);
    const { values, left, right } = truncatedSvd(matrix, rank, new Rng(1));
    t.is(values.length, rank);
    values.forEach((value, index) => {
      t.true(Math.abs(value - (singular[index] ?? 0)) < 1e-10, `${value} of ${singular[index]}`);
      if (value < 1e-9) return;
      for (let other = 0; other <= index; other++) {
        const wanted = other === index ? 1 : 0;
        t.true(Math.abs(product(left[index] as Float64Array, left[other] as Float64Array) - wanted) < 1e-10);
        t.true(Math.abs(product(right[index] as Float64Array, right[other] as Float64Array) - wanted) < 1e-10);
      }
      // W v = σ u
      for (let row = 0; row < rows; row++) {
        let image = 0;
        for (let col = 0; col < cols; col++)
          image += (matrix.values[row * cols + col] ?? 0) * (right[index]?.[col] ?? 0);
        t.true(Math.abs(image - value * (left[index]?.[row] ?? 0)) < 1e-9);
      }
    });
  });
}

test('a sketch comes nearer with each iteration', (t) => {
  const singular = Array.from({ length: 40 }, (_, index) => 0.8 ** index);
  const matrix = matrixOf(new Rng(3), 60, 40, singular);
  const off = (iterations: number): number => {
    const { values } = sketchedSvd(matrix, 4, iterations, new Rng(2));
    return Math.max(...values.map((value, index) => Math.abs(value - (singular[index] ?? 0))));
  };
  t.true(off(1) < off(0) && off(4) < off(1));
  t.true(off(60) < 1e-9);
});
