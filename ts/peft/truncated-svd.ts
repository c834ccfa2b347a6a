import type { Rng } from '../data/rng.js';

// All in double precision: what begins as factors of a weight must be those factors to the last digits of a float.

/** A matrix by rows. */
export interface Matrix {
  values: ArrayLike<number>;
  rows: number;
  cols: number;
}

/** The largest singular values of a matrix, in descending order, with their vectors. */
export interface SingularTriplets {
  values: number[];
  /** [rows] each, orthonormal. */
  left: Float64Array[];
  /** [cols] each, orthonormal. */
  right: Float64Array[];
}

type Vectors = Float64Array[];

/** Largest residual ‖W v − σ u‖ of a triplet, as a share of the largest singular value. */
const TOLERANCE = 1e-10;

/**
 * The `rank` largest singular values and their vectors: Rayleigh and Ritz on a Krylov space of W Wᵀ, orthogonalised in full (Golub & Van
 * Loan, Matrix Computations, ch. 10), which grows until the residuals are nothing.
 *
 * @param rank at most the smaller side
 */
export function truncatedSvd(matrix: Matrix, rank: number, rng: Rng): SingularTriplets {
  const most = Math.min(matrix.rows, matrix.cols);
  const basis: Vectors = [];
  let next = randomVector(rng, matrix.rows);
  for (let size = Math.min(most, 2 * rank + 20); ; size = Math.min(most, 2 * size)) {
    while (basis.length < size) {
      // The space may be exhausted before it is large enough: another direction begins it anew.
      let direction = orthonormal(next, basis);
      while (!direction) direction = orthonormal(randomVector(rng, matrix.rows), basis);
      basis.push(direction);
      next = times(matrix, transposedTimes(matrix, direction));
    }
    const found = triplets(matrix, basis, rank);
    const largest = found.values[0] ?? 0;
    const isExact = found.values.every((value, index) => residual(matrix, found, index, value) <= TOLERANCE * largest);
    if (isExact || size === most) return found;
  }
}

/**
 * The same from the range of W after `iterations` of subspace iteration on `rank` random directions (Halko et al. 2011, algorithm 4.4):
 * near, for less work.
 */
export function sketchedSvd(matrix: Matrix, rank: number, iterations: number, rng: Rng): SingularTriplets {
  const basisOf = (vectors: Vectors, length: number): Vectors => {
    const basis: Vectors = [];
    for (const vector of vectors) {
      let direction = orthonormal(vector, basis);
      while (!direction) direction = orthonormal(randomVector(rng, length), basis);
      basis.push(direction);
    }
    return basis;
  };
  const drawn = Array.from({ length: rank }, () => randomVector(rng, matrix.cols));
  let basis = basisOf(
    drawn.map((vector) => times(matrix, vector)),
    matrix.rows,
  );
  for (let iteration = 0; iteration < iterations; iteration++) {
    const across = basisOf(
      basis.map((vector) => transposedTimes(matrix, vector)),
      matrix.cols,
    );
    basis = basisOf(
      across.map((vector) => times(matrix, vector)),
      matrix.rows,
    );
  }
  return triplets(matrix, basis, rank);
}

/** The first `rank` columns of Q in W = Q R, orthonormal. @param rank at most the smaller side */
export function leadingColumns(matrix: Matrix, rank: number, rng: Rng): Vectors {
  const basis: Vectors = [];
  for (let column = 0; column < rank; column++) {
    const values = Float64Array.from(
      { length: matrix.rows },
      (_, row) => matrix.values[row * matrix.cols + column] as number,
    );
    let direction = orthonormal(values, basis);
    while (!direction) direction = orthonormal(randomVector(rng, matrix.rows), basis);
    basis.push(direction);
  }
  return basis;
}

/** Wᵀ v */
export function transposedTimes({ values, rows, cols }: Matrix, vector: Float64Array): Float64Array {
  const result = new Float64Array(cols);
  for (let row = 0; row < rows; row++) {
    const factor = vector[row] as number;
    const start = row * cols;
    for (let col = 0; col < cols; col++) result[col]! += factor * (values[start + col] as number);
  }
  return result;
}

/** W v */
function times({ values, rows, cols }: Matrix, vector: Float64Array): Float64Array {
  const result = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    const start = row * cols;
    for (let col = 0; col < cols; col++) sum += (values[start + col] as number) * (vector[col] as number);
    result[row] = sum;
  }
  return result;
}

/** Singular triplets of the part of a matrix in a space of orthonormal left vectors: the rows of Qᵀ W, made orthogonal (Hestenes 1958). */
function triplets(matrix: Matrix, basis: Vectors, rank: number): SingularTriplets {
  const rows = basis.map((vector) => transposedTimes(matrix, vector));
  const left = basis.map((vector) => vector.slice());
  for (let sweep = 0; sweep < 60; sweep++) {
    let largest = 0;
    for (let i = 0; i < rows.length; i++) {
      for (let j = i + 1; j < rows.length; j++) {
        const [a, b] = [rows[i] as Float64Array, rows[j] as Float64Array];
        const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
        const share = Math.abs(ab) / Math.sqrt(aa * bb || 1);
        if (share <= 1e-14) continue;
        largest = Math.max(largest, share);
        const zeta = (bb - aa) / (2 * ab);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cosine = 1 / Math.sqrt(1 + tangent * tangent);
        rotate(a, b, cosine, cosine * tangent);
        rotate(left[i] as Float64Array, left[j] as Float64Array, cosine, cosine * tangent);
      }
    }
    if (largest <= 1e-14) break;
  }
  const norms = rows.map((row) => Math.sqrt(dot(row, row)));
  const order = [...norms.keys()].sort((a, b) => (norms[b] as number) - (norms[a] as number)).slice(0, rank);
  return {
    values: order.map((index) => norms[index] as number),
    left: order.map((index) => left[index] as Float64Array),
    right: order.map((index) => (rows[index] as Float64Array).map((value) => value / (norms[index] || 1))),
  };
}

function residual(matrix: Matrix, { left, right }: SingularTriplets, index: number, value: number): number {
  const image = times(matrix, right[index] as Float64Array);
  return Math.sqrt(
    image.reduce((sum, entry, row) => sum + (entry - value * ((left[index] as Float64Array)[row] as number)) ** 2, 0),
  );
}

/** What is orthogonal to a basis, of length 1; undefined where nothing is left but rounding. Twice is enough (Kahan). */
function orthonormal(vector: Float64Array, basis: readonly Float64Array[]): Float64Array | undefined {
  const result = vector.slice();
  const before = Math.sqrt(dot(vector, vector));
  for (let pass = 0; pass < 2; pass++) {
    for (const other of basis) {
      const part = dot(result, other);
      for (let at = 0; at < result.length; at++) result[at]! -= part * (other[at] as number);
    }
  }
  const length = Math.sqrt(dot(result, result));
  return length > 1e-12 * before ? result.map((value) => value / length) : undefined;
}

function rotate(a: Float64Array, b: Float64Array, cosine: number, sine: number): void {
  for (let at = 0; at < a.length; at++) {
    const [x, y] = [a[at] as number, b[at] as number];
    a[at] = cosine * x - sine * y;
    b[at] = sine * x + cosine * y;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] as number);
  return sum;
}

function randomVector(rng: Rng, length: number): Float64Array {
  return Float64Array.from({ length }, () => rng.nextNormal());
}
