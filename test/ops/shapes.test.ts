// Every operation with sizes drawn at random: its results have the shapes that it promises, and each gradient that of its input.
import test from 'ava';
import fc from 'fast-check';
import { backward } from '../../ts/autograd/backward.js';
import type { Backend } from '../../ts/backend/backend.js';
import { Rng } from '../../ts/data/rng.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import * as ops from '../../ts/ops/index.js';
import { scope } from '../../ts/tensor/scope.js';
import { elementLosses } from '../../ts/ops/element-loss.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { RUNS } from '../fuzz/mutations.js';
import { weightedSum } from './gradient-check.js';

/** Sizes of one call. */
interface Sizes {
  /** Lengths of two sets of sequences; their sums are the rows. */
  a: number[];
  b: number[];
  inner: number;
  outer: number;
  heads: number;
}

type Shape = readonly number[];
interface Call {
  inputs: Record<string, Shape>;
  run(x: (name: string) => Tensor, ints: (values: readonly number[]) => Tensor): readonly Tensor[];
  outputs: readonly Shape[];
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const offsets = (lengths: readonly number[]): number[] =>
  lengths.map((_, index) => sum(lengths.slice(0, index))).concat(sum(lengths));
const RELU = activationKind('relu');
const drop = { p: 0.25, seed: 3, stream: 4 };

const CALLS: Record<keyof typeof ops, (sizes: Sizes) => Call> = {
  activate: ({ a, inner: d }) =>
    mlp({ x: [sum(a), d] }, (x) => ops.activate(x('x'), RELU, { element: elementLosses.l0(1e-3) }), [sum(a), d]),
  gatedActivate: ({ a, inner: d }) =>
    mlp(
      { x: [sum(a), d], y: [sum(a), d] },
      (x) => ops.gatedActivate(x('x'), x('y'), RELU, { element: elementLosses.l0(1e-3) }),
      [sum(a), d],
    ),
  linearActivate: ({ a, inner: d, outer: e }) =>
    mlp(
      { x: [sum(a), d], w: [e, d], bias: [e] },
      (x) => ops.linearActivate(x('x'), x('w'), x('bias'), RELU, { element: elementLosses.l0(1e-3) }),
      [sum(a), e],
    ),
  attention: ({ a, b, inner, outer, heads }) => {
    const count = Math.min(a.length, b.length);
    const [q, k] = [a.slice(0, count), b.slice(0, count)];
    const [keys, values] = [inner * heads, outer * heads];
    return {
      inputs: { q: [sum(q), keys], k: [sum(k), keys], v: [sum(k), keys] },
      run: (x, ints) => [
        ops.attention(x('q'), x('k'), x('v'), ints(offsets(q)), ints(offsets(k)), { heads, scale: 0.5 }),
      ],
      outputs: [[sum(q), keys]],
      ...(values > 0 ? {} : {}),
    };
  },
  concatCols: ({ a, inner: d, outer: e }) =>
    one({ x: [sum(a), d], y: [sum(a), e] }, (x) => ops.concatCols([x('x'), x('y')]), [sum(a), d + e]),
  scaleCols: ({ a, inner: d }) => one({ x: [sum(a), d], y: [d] }, (x) => ops.scaleCols(x('x'), x('y')), [sum(a), d]),
  splitCols: ({ a, inner: d, outer: e }) => ({
    inputs: { x: [sum(a), d + e] },
    run: (x) => ops.splitCols(x('x'), [d, e]),
    outputs: [
      [sum(a), d],
      [sum(a), e],
    ],
  }),
  concatSequences: ({ a, b, inner: d }) => {
    const count = Math.min(a.length, b.length);
    const [p, q] = [a.slice(0, count), b.slice(0, count)];
    return {
      inputs: { x: [sum(p), d], y: [sum(q), d] },
      run: (x, ints) => [ops.concatSequences(x('x'), x('y'), ints(offsets(p)), ints(offsets(q)))],
      outputs: [[sum(p) + sum(q), d]],
    };
  },
  prependRows: ({ a, inner: d, outer }) => ({
    inputs: { x: [outer, d], y: [sum(a), d] },
    run: (x, ints) => [ops.prependRows(x('x'), x('y'), ints(offsets(a)))],
    outputs: [[sum(a) + outer * a.length, d]],
  }),
  densityValue: ({ inner: d, outer: e }) =>
    one({ x: [1, d], y: [1, e] }, (x) => ops.densityValue([x('x'), x('y')], 'tanh', 20, 0.5), [1, 1]),
  doraLinear: ({ a, inner: d, outer: e, heads: r }) =>
    one(
      { x: [sum(a), d], w: [e, d], bias: [e], la: [r, d], lb: [e, r], m: [e] },
      (x) => ops.doraLinear(x('x'), x('w'), x('bias'), x('la'), x('lb'), x('m'), 0.5),
      [sum(a), e],
    ),
  dropout: ({ a, inner: d }) => one({ x: [sum(a), d] }, (x) => ops.dropout(x('x'), drop), [sum(a), d]),
  dropoutAdd: ({ a, inner: d }) =>
    one({ x: [sum(a), d], y: [sum(a), d] }, (x) => ops.dropoutAdd(x('x'), x('y'), drop), [sum(a), d]),
  activation: ({ a, inner: d }) =>
    one({ x: [sum(a), d] }, (x) => ops.activation(x('x'), activationKind('gelu')), [sum(a), d]),
  add: ({ a, inner: d }) => one({ x: [sum(a), d], y: [sum(a), d] }, (x) => ops.add(x('x'), x('y')), [sum(a), d]),
  div: ({ a, inner: d }) => one({ x: [sum(a), d], y: [sum(a), d] }, (x) => ops.div(x('x'), x('y')), [sum(a), d]),
  mul: ({ a, inner: d }) => one({ x: [sum(a), d], y: [sum(a), d] }, (x) => ops.mul(x('x'), x('y')), [sum(a), d]),
  scale: ({ a, inner: d }) => one({ x: [sum(a), d] }, (x) => ops.scale(x('x'), 0.5), [sum(a), d]),
  gatherRows: ({ a, b, inner: d }) => ({
    inputs: { x: [sum(a), d] },
    run: (x, ints) => [ops.gatherRows(x('x'), ints(Array.from({ length: sum(b) }, (_, row) => (7 * row) % sum(a))))],
    outputs: [[sum(b), d]],
  }),
  layerNorm: ({ a, inner: d }) =>
    one({ x: [sum(a), d], y: [d], z: [d] }, (x) => ops.layerNorm(x('x'), x('y'), x('z'), 1e-5), [sum(a), d]),
  addLayerNorm: ({ a, inner: d }) =>
    one(
      { x: [sum(a), d], y: [sum(a), d], gamma: [d], beta: [d] },
      (x) => ops.addLayerNorm(x('x'), x('y'), x('gamma'), x('beta'), 1e-5, drop),
      [sum(a), d],
    ),
  rmsNorm: ({ a, inner: d }) => one({ x: [sum(a), d], y: [d] }, (x) => ops.rmsNorm(x('x'), x('y'), 1e-5), [sum(a), d]),
  linear: ({ a, inner: d, outer: e }) =>
    one({ x: [sum(a), d], w: [e, d], bias: [e] }, (x) => ops.linear(x('x'), x('w'), x('bias')), [sum(a), e]),
  linearCrossEntropy: ({ a, inner: d, outer: e }) => ({
    inputs: { x: [sum(a), d], w: [e, d], bias: [e] },
    run: (x, ints) => [ops.linearCrossEntropy(x('x'), x('w'), x('bias'), ints(labels(sum(a), e)), 0.1).loss],
    outputs: [[1, 1]],
  }),
  loraLinear: ({ a, inner: d, outer: e, heads: r }) =>
    one(
      { x: [sum(a), d], w: [e, d], bias: [e], la: [r, d], lb: [e, r] },
      (x) => ops.loraLinear(x('x'), x('w'), x('bias'), x('la'), x('lb'), 0.5, drop),
      [sum(a), e],
    ),
  crossEntropy: ({ a, outer: e }) => ({
    inputs: { x: [sum(a), e] },
    run: (x, ints) => [ops.crossEntropy(x('x'), ints(labels(sum(a), e)), 0.1)],
    outputs: [[1, 1]],
  }),
  meanSquaredError: ({ a, inner: d }) => ({
    inputs: { x: [sum(a), d] },
    run: (x) => [ops.meanSquaredError(x('x'), ops.scale(x('x'), 2))],
    outputs: [[1, 1]],
  }),
  sequenceCrossEntropy: ({ a, inner: d }) => ({
    inputs: { x: [sum(a), d] },
    run: (x, ints) => [
      ops.sequenceCrossEntropy(x('x'), ints(a.flatMap((length) => labels(d, length))), ints(offsets(a))),
    ],
    outputs: [[1, 1]],
  }),
};

function labels(rows: number, classes: number): number[] {
  return Array.from({ length: rows }, (_, row) => (row > 0 && row % 3 === 0 ? -100 : (5 * row) % classes));
}

function one(inputs: Record<string, Shape>, run: (x: (name: string) => Tensor) => Tensor, output: Shape): Call {
  return { inputs, run: (x) => [run(x)], outputs: [output] };
}

/** Activations with their two statistics. */
function mlp(
  inputs: Record<string, Shape>,
  run: (x: (name: string) => Tensor) => ReturnType<typeof ops.activate>,
  output: Shape,
): Call {
  const run3 = (x: (name: string) => Tensor): Tensor[] => {
    const { out, featureMap, elementMean } = run(x);
    return [out, featureMap, elementMean];
  };
  return { inputs, run: run3, outputs: [output, [1, output[1] as number], [1, 1]] };
}

const lengths = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 3 });
const size = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 70 }));
const sizes: fc.Arbitrary<Sizes> = fc.record({
  a: lengths,
  b: lengths,
  inner: size,
  outer: size,
  heads: fc.integer({ min: 1, max: 3 }),
});

function check(backend: Backend, name: string, call: Call): void {
  scope(backend, () => {
    const rng = new Rng(1, 2);
    const inputs = new Map(
      Object.entries(call.inputs).map(([key, shape]) => {
        const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0.25 + rng.nextFloat());
        const tensor = Tensor.fromFloats(backend, values, shape);
        tensor.requiresGrad = true;
        return [key, tensor];
      }),
    );
    const outputs = call.run(
      (key) => inputs.get(key) as Tensor,
      (values) => Tensor.fromInts(backend, values),
    );
    const expect = (what: string, found: readonly number[], expected: Shape): void => {
      if (found.join() !== expected.join())
        throw new Error(`${name}: ${what} is [${found.join()}], expected [${expected.join()}]`);
    };
    outputs.forEach((output, index) => {
      const shape = call.outputs[index] as Shape;
      expect(`output ${index}`, output.shape, shape);
      const values = output.toFloats();
      expect(`size of output ${index}`, [values.length], [shape.reduce((a, b) => a * b, 1)]);
      if (!values.every(Number.isFinite)) throw new Error(`${name}: output ${index} is not finite`);
    });
    const gradients = backward(weightedSum(backend, outputs));
    for (const [key, input] of inputs) {
      const gradient = gradients.get(input);
      if (gradient === undefined) throw new Error(`${name}: no gradient for ${key}`);
      expect(`size of the gradient of ${key}`, [backend.readF32(gradient).length], [input.size]);
    }
  });
}

const runs = Math.max(20, Math.floor(RUNS / 10));
test('every operation is drawn', (t) => {
  t.deepEqual(Object.keys(CALLS).sort(), Object.keys(ops).sort());
});
for (const [name, callOf] of Object.entries(CALLS)) {
  onEachBackend(`shapes of ${name}, ${runs} sizes`, (t, backend) => {
    fc.assert(
      fc.property(sizes, (drawn) => {
        check(backend, name, callOf(drawn));
      }),
      { numRuns: runs },
    );
    t.is(backend.liveTensors(), 0);
  });
}
