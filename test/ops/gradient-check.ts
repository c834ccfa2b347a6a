import type { Backend } from '../../ts/backend/backend.js';
import { backward } from '../../ts/autograd/backward.js';
import { recordOne } from '../../ts/autograd/node.js';
import { Rng } from '../../ts/data/rng.js';
import { scope } from '../../ts/tensor/scope.js';
import { Tensor } from '../../ts/tensor/tensor.js';

/** A float input of an operation. */
export interface Input {
  shape: readonly number[];
  values: Float32Array;
}

/** One call of an operation, to be differentiated with respect to every input. */
export interface GradientCase {
  /** What is special about it. */
  title: string;
  inputs: Readonly<Record<string, Input>>;
  /** Calls the operation. Everything else it needs (ids, offsets) it makes itself. */
  run(backend: Backend, inputs: Readonly<Record<string, Tensor>>): readonly Tensor[];
  /** Numbers whose signs change exactly at kinks (ReLU): an element whose steps cross one has no derivative to compare with. */
  kinks?: (backend: Backend, inputs: Readonly<Record<string, Tensor>>) => Tensor;
  /** Elements of each input to check, drawn at random; default: all. */
  samples?: number;
}

/** Cases by the operation that they check. */
export type GradientChecks = Readonly<Record<string, readonly GradientCase[]>>;

/**
 * Step of the differences. Inputs are multiples of it (see {@link uniform}), so that x ± h and x ± 2h are exact in f32.
 */
const STEP = 1 / 64;

/**
 * Largest error relative to the largest derivative of the input. Both sides carry f32 errors: the difference about
 * ε · √n · |y| / h ≈ 1e-5, the formula of fourth order about h⁴ · |f⁽⁵⁾| / 30 ≈ 1e-6 for functions as smooth as those checked.
 */
export const TOLERANCE = 5e-4;

/** Random multiples of 1/64 in ±limit. */
export function uniform(shape: readonly number[], seed: number, limit = 1): Input {
  const rng = new Rng(seed, 0x9c);
  const size = shape.reduce((product, dim) => product * dim, 1);
  const steps = Math.round(limit / STEP);
  return { shape, values: Float32Array.from({ length: size }, () => (rng.nextBelow(2 * steps + 1) - steps) * STEP) };
}

/** As {@link uniform} but at least `gap` away from 0, where ReLU has its kink. */
export function awayFromZero(shape: readonly number[], seed: number, limit = 1, gap = 0.125): Input {
  const { values } = uniform(shape, seed, limit - gap);
  return { shape, values: values.map((value) => (value < 0 ? value - gap : value + gap)) };
}

/** What a check found. */
export interface GradientResult {
  /** Names of the recorded operations between the loss and the inputs. */
  operations: Set<string>;
  /** One line for each wrong gradient. */
  problems: string[];
  checked: number;
  skipped: number;
}

/**
 * Compares the gradient of L = Σ c · y (random c, every output) with finite differences of fourth order: once with every input
 * requiring a gradient, and once with each alone, as operations leave out what is not asked for.
 */
export function checkGradients(backend: Backend, example: GradientCase): GradientResult {
  const result: GradientResult = { operations: new Set(), problems: [], checked: 0, skipped: 0 };
  const names = Object.keys(example.inputs);
  const together = gradients(backend, example, names, result.operations);
  for (const name of names) {
    const values = together.get(name) as Float32Array;
    compareWithDifferences(backend, example, name, values, result);
    const alone = gradients(backend, example, [name], result.operations).get(name) as Float32Array;
    if (alone.some((value, index) => value !== values[index])) {
      result.problems.push(`${name}: the gradient differs where only this input requires one`);
    }
  }
  return result;
}

export function tensorsOf(backend: Backend, inputs: Readonly<Record<string, Input>>): Record<string, Tensor> {
  const entries = Object.entries(inputs);
  return Object.fromEntries(
    entries.map(([name, { shape, values }]) => [name, Tensor.fromFloats(backend, values, shape)]),
  );
}

/** Weights of the outputs' elements. */
function coefficients(size: number, output: number): Float32Array {
  return uniform([size], 1000 + output, 2).values;
}

function gradients(
  backend: Backend,
  example: GradientCase,
  wanted: readonly string[],
  operations: Set<string>,
): Map<string, Float32Array> {
  return scope(backend, () => {
    const inputs = tensorsOf(backend, example.inputs);
    for (const name of wanted) (inputs[name] as Tensor).requiresGrad = true;
    const outputs = example.run(backend, inputs);
    for (const { node } of outputs) collect(node, operations);
    const found = backward(weightedSum(backend, outputs));
    return new Map(
      wanted.map((name) => {
        const tensor = inputs[name] as Tensor;
        const handle = found.get(tensor);
        // An input that cannot change the outputs of this case has no gradient.
        return [name, handle === undefined ? new Float32Array(tensor.size) : backend.readF32(handle)];
      }),
    );
  });
}

function collect(node: Tensor['node'], operations: Set<string>): void {
  if (!node) return;
  operations.add(node.name);
  for (const input of node.inputs) collect(input?.node, operations);
}

/** L = Σ c · y as a recorded operation, so that several outputs are differentiated at once. */
export function weightedSum(backend: Backend, outputs: readonly Tensor[]): Tensor {
  const flowing = outputs.filter(({ requiresGrad }) => requiresGrad);
  const loss = backend.uploadF32(Float32Array.of(value(flowing)), 1, 1);
  return recordOne('weightedSum', backend, flowing, loss, [1, 1], (dLoss) => {
    const upstream = backend.readF32(dLoss)[0] ?? Number.NaN;
    return flowing.map((y, index) =>
      backend.uploadF32(
        coefficients(y.size, index).map((c) => c * upstream),
        y.rows,
        y.cols,
      ),
    );
  });
}

/** Σ c · y in double precision. */
function value(outputs: readonly Tensor[]): number {
  return outputs.reduce((total, y, output) => {
    const c = coefficients(y.size, output);
    return y.toFloats().reduce((sum, element, index) => sum + element * (c[index] as number), total);
  }, 0);
}

function compareWithDifferences(
  backend: Backend,
  example: GradientCase,
  name: string,
  analytic: Float32Array,
  result: GradientResult,
): void {
  const input = example.inputs[name] as Input;
  const rng = new Rng(input.values.length, 0x7e);
  const all = Array.from(input.values.keys());
  const elements = example.samples === undefined ? all : rng.shuffle(all).slice(0, example.samples);
  const scale = Math.max(1e-2, ...analytic.map(Math.abs));
  if (analytic.length !== input.values.length) {
    result.problems.push(`${name}: the gradient has ${analytic.length} elements, expected ${input.values.length}`);
    return;
  }
  let worst = { error: 0, index: 0, expected: 0 };
  for (const index of elements) {
    const at = (steps: number): { loss: number; kinks: string } => {
      const values = input.values.slice();
      values[index] = (values[index] as number) + steps * STEP;
      return scope(backend, () => {
        const inputs = tensorsOf(backend, { ...example.inputs, [name]: { ...input, values } });
        const signs = example.kinks?.(backend, inputs).toFloats().map(Math.sign) ?? [];
        return { loss: value(example.run(backend, inputs)), kinks: signs.join('') };
      });
    };
    const [left2, left, right, right2] = [at(-2), at(-1), at(1), at(2)] as const;
    if (new Set([left2.kinks, left.kinks, right.kinks, right2.kinks]).size > 1) {
      result.skipped += 1;
      continue;
    }
    result.checked += 1;
    const expected = (left2.loss - 8 * left.loss + 8 * right.loss - right2.loss) / (12 * STEP);
    const error = Math.abs((analytic[index] as number) - expected) / scale;
    if (!(error <= worst.error)) worst = { error, index, expected };
  }
  if (!(worst.error <= TOLERANCE)) {
    result.problems.push(
      `${name}[${worst.index}]: gradient ${analytic[worst.index]}, differences give ${worst.expected} ` +
        `(error ${worst.error.toExponential(1)} of the largest)`,
    );
  }
}
