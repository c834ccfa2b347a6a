import type { Rng } from '../data/rng.js';
import { DeftuneError } from '../error.js';
import {
  leadingColumns,
  sketchedSvd,
  transposedTimes,
  truncatedSvd,
  type Matrix,
  type SingularTriplets,
} from './truncated-svd.js';

/** A layer whose factors begin. */
export interface Beginning {
  /** [out, in], read where the factors depend on it. */
  weight: () => Matrix;
  out: number;
  in: number;
  r: number;
  /** Factor on B · A. */
  scaling: number;
  rng: Rng;
}

/** Factors A [r, in] and B [out, r]. */
export interface Factors {
  a: Float32Array;
  b: Float32Array;
  /** Whether scaling · B · A is taken out of the weight, so that the model is its base at first. */
  isTakenOut?: boolean;
}

type Initialisation = (beginning: Beginning) => Factors;

/** Initialisations by the names that peft's `init_lora_weights` has for them. */
const INITIALISATIONS: Readonly<Record<string, Initialisation>> = {
  // Kaiming uniform with a = √5, which is uniform in ±1/√in.
  true: ({ out, in: width, r, rng }) => ({ a: uniform(rng, r * width, width), b: new Float32Array(out * r) }),
  false: ({ out, in: width, r, rng }) => ({ a: uniform(rng, r * width, width), b: uniform(rng, out * r, r) }),
  gaussian: ({ out, in: width, r, rng }) => ({
    a: Float32Array.from({ length: r * width }, () => rng.nextNormal() / r),
    b: new Float32Array(out * r),
  }),
  orthogonal,
  olora,
  pissa: (beginning) => pissa(beginning, truncatedSvd(beginning.weight(), beginning.r, beginning.rng)),
};

const SKETCHED = /^pissa_niter_(\d{1,3})$/;

/** Names of the initialisations, as `initLoraWeights` takes them. */
export type LoraInitialisation = boolean | 'gaussian' | 'orthogonal' | 'olora' | 'pissa' | `pissa_niter_${number}`;

/** Why peft's other initialisations cannot be had. */
const REASONS: Readonly<Record<string, string>> = {
  eva: 'needs data',
  corda: 'needs data',
  lora_ga: 'needs data',
  loftq: 'quantizes the base',
  mica: 'freezes B',
};

/** What is wrong with an initialisation's name; undefined where nothing is. */
export function initialisationProblem(name: unknown): string | undefined {
  if (typeof name === 'boolean') return undefined;
  const isBoolean = (own: string): boolean => own === 'true' || own === 'false';
  if (typeof name === 'string' && !isBoolean(name)) {
    if (SKETCHED.test(name) || Object.hasOwn(INITIALISATIONS, name)) return undefined;
  }
  const known = Object.keys(INITIALISATIONS).map((own) => (isBoolean(own) ? own : `"${own}"`));
  const reason = typeof name === 'string' ? REASONS[name] : undefined;
  return `expected one of ${known.join(', ')}, "pissa_niter_N"${reason === undefined ? '' : ` (that one ${reason})`}`;
}

/** Whether an initialisation takes its factors out of the weights. */
export function isTakenOut(name: LoraInitialisation): boolean {
  return typeof name === 'string' && /^(olora|pissa)/.test(name);
}

/** The factors that a layer begins with. @throws DeftuneError where the rank is not one that the initialisation can have */
export function initialFactors(name: LoraInitialisation, beginning: Beginning): Factors {
  const most = Math.min(beginning.in, beginning.out);
  if (isTakenOut(name) && beginning.r > most) {
    throw new DeftuneError(
      `r is ${beginning.r}, expected at most ${most} with initLoraWeights "${name}", the layer's smaller side`,
    );
  }
  const iterations = SKETCHED.exec(String(name))?.[1];
  if (iterations !== undefined) {
    return pissa(beginning, sketchedSvd(beginning.weight(), beginning.r, Number(iterations), beginning.rng));
  }
  return (INITIALISATIONS[String(name)] as Initialisation)(beginning);
}

/** The principal part of the weight (Meng et al. 2024). */
function pissa({ out, in: width, r, scaling }: Beginning, { values, left, right }: SingularTriplets): Factors {
  const [a, b] = [new Float32Array(r * width), new Float32Array(out * r)];
  values.forEach((value, index) => {
    const share = Math.sqrt(value / scaling);
    (right[index] as Float64Array).forEach((entry, col) => (a[index * width + col] = share * entry));
    (left[index] as Float64Array).forEach((entry, row) => (b[row * r + index] = share * entry));
  });
  return { a, b, isTakenOut: true };
}

/** The first columns of Q and rows of R of the weight (Büyükakyüz 2024). */
function olora({ weight, out, in: width, r, rng }: Beginning): Factors {
  const matrix = weight();
  const [a, b] = [new Float32Array(r * width), new Float32Array(out * r)];
  leadingColumns(matrix, r, rng).forEach((column, index) => {
    a.set(transposedTimes(matrix, column), index * width);
    column.forEach((entry, row) => (b[row * r + index] = entry));
  });
  return { a, b, isTakenOut: true };
}

/** A and B of random directions that are orthogonal to one another in the r dimensions between them, so that B · A is 0. */
function orthogonal({ out, in: width, r, rng }: Beginning): Factors {
  if (r % 2 !== 0) throw new DeftuneError(`r is ${r}, expected an even number with initLoraWeights "orthogonal"`);
  const normals = (length: number): Float64Array => Float64Array.from({ length }, () => rng.nextNormal());
  const directions = leadingColumns({ values: normals(r * r), rows: r, cols: r }, r, rng);
  const half = r / 2;
  const mixed = (count: number, first: number, at: (row: number, dimension: number) => number): Float32Array => {
    const result = new Float32Array(count * r);
    for (let row = 0; row < count; row++) {
      const shares = normals(half);
      for (let dimension = 0; dimension < r; dimension++) {
        let sum = 0;
        for (let of = 0; of < half; of++)
          sum += (shares[of] as number) * ((directions[2 * of + first] as Float64Array)[dimension] as number);
        result[at(row, dimension)] = sum / 10;
      }
    }
    return result;
  };
  return {
    a: mixed(width, 0, (col, dimension) => dimension * width + col),
    b: mixed(out, 1, (row, dimension) => row * r + dimension),
  };
}

function uniform(rng: Rng, length: number, width: number): Float32Array {
  const bound = 1 / Math.sqrt(width);
  return Float32Array.from({ length }, () => (rng.nextFloat() * 2 - 1) * bound);
}
