import { readFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import { noGrad, recordOne } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import { doraNorms } from '../../ts/ops/dora-norms.js';
import * as ops from '../../ts/ops/index.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { onEachBackend } from '../backend/on-each-backend.js';

// Single operations against transformers, peft and PyTorch: test/fixtures/make_transformer_ops.py.

type Values = readonly number[] | readonly (readonly number[])[];

interface Weight {
  value: Values;
  grad: Values;
}

interface ModuleCase {
  x: Values;
  dy: Values;
  y: Values;
  dx: Values;
  weights: Record<string, Weight>;
}

interface DoraCase {
  scaling: number;
  x: Values;
  dy: Values;
  y: Values;
  dx: Values;
  weight: Values;
  bias: Values | null;
  startMagnitude: Values;
  loraA: Values;
  loraB: Values;
  magnitude: Values;
  dLoraA: Values;
  dLoraB: Values;
  dMagnitude: Values;
}

type AttentionCase = ModuleCase & { heads: number; dKv: number; maxDistance: number };

const fixture = JSON.parse(readFileSync(new URL('../fixtures/transformer_ops.json', import.meta.url), 'utf8')) as {
  activations: { x: readonly number[] } & Record<string, { y: Values; dx: Values }>;
  rmsNorm: { eps: number; x: Values; weight: Values; y: Values; dy: Values; dx: Values; dweight: Values };
  linearCrossEntropy: {
    smoothing: number;
    labels: readonly number[];
    loss: number;
  } & Record<'hidden' | 'weight' | 'bias' | 'rowLosses' | 'dhidden' | 'dweight' | 'dbias', Values>;
  t5Encoder: AttentionCase;
  t5Decoder: AttentionCase;
  gatedMlp: ModuleCase & { activation: string };
  dora: DoraCase;
  doraWithoutBias: DoraCase;
};

/** A leaf with a gradient from nested lists. */
function leaf(backend: Backend, values: Values): Tensor {
  const rows = values.map((row) => (typeof row === 'number' ? [row] : row));
  const isMatrix = typeof values[0] !== 'number';
  const shape = isMatrix ? [rows.length, rows[0]?.length ?? 0] : [rows.length];
  const tensor = Tensor.fromFloats(backend, rows.flat(), shape);
  tensor.requiresGrad = true;
  return tensor;
}

function close(t: ExecutionContext, name: string, actual: Float32Array, expected: Values, tolerance = 1e-5): void {
  const right = expected.flat() as number[];
  t.is(actual.length, right.length, name);
  const scale = right.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  const worst = right.reduce((most, value, i) => Math.max(most, Math.abs(value - (actual[i] ?? Number.NaN))), 0);
  t.true(worst <= tolerance * scale, `${name}: off by ${worst} where the largest value is ${scale}`);
}

/** Gradients of Σ dy · y by leaf. */
function gradientsOf(y: Tensor, dy: Values): (leaf: Tensor) => Float32Array {
  const { backend } = y;
  const upstream = Tensor.fromFloats(backend, dy.flat() as number[], y.shape);
  const loss = Tensor.fromFloats(backend, [0], [1, 1]);
  const found = backward(recordOne('weightedSum', backend, [y], loss.handle, [1, 1], () => [upstream.handle]));
  return (tensor) => backend.readF32(found.get(tensor) ?? 0);
}

onEachBackend('activations are those of transformers', (t, backend) => {
  const { x: values, ...kinds } = fixture.activations;
  for (const [name, { y, dx }] of Object.entries(kinds)) {
    const x = leaf(backend, [values]);
    const out = ops.activation(x, activationKind(name));
    close(t, name, out.toFloats(), y, 1e-6);
    const gradient = gradientsOf(out, [values.map(() => 1)])(x);
    close(t, `derivative of ${name}`, gradient, dx, 2e-6);
  }
});

onEachBackend('rmsNorm is T5LayerNorm', (t, backend) => {
  const { eps, y, dy, dx, dweight, ...values } = fixture.rmsNorm;
  const [x, gamma] = [leaf(backend, values.x), leaf(backend, values.weight)];
  const out = ops.rmsNorm(x, gamma, eps);
  close(t, 'y', out.toFloats(), y);
  const gradient = gradientsOf(out, dy);
  close(t, 'dx', gradient(x), dx);
  close(t, 'dweight', gradient(gamma), dweight);
});

onEachBackend('linearCrossEntropy is cross_entropy of linear', (t, backend) => {
  const { smoothing, labels, loss, rowLosses, dhidden, dweight, dbias, ...values } = fixture.linearCrossEntropy;
  const [hidden, weight, bias] = [values.hidden, values.weight, values.bias].map((value) => leaf(backend, value));
  const call = (): ReturnType<typeof ops.linearCrossEntropy> =>
    ops.linearCrossEntropy(hidden as Tensor, weight as Tensor, bias, Tensor.fromInts(backend, labels), smoothing);
  const found = call();
  close(t, 'loss', found.loss.toFloats(), [loss], 1e-6);
  close(t, 'rowLosses', found.rowLosses.toFloats(), rowLosses, 1e-6);
  const gradients = backward(found.loss, { seed: 0.5 });
  [dhidden, dweight, dbias].forEach((expected, index) => {
    const handle = gradients.get([hidden, weight, bias][index] as Tensor) ?? 0;
    const doubled = backend.readF32(handle).map((value) => value * 2);
    close(t, `gradient ${index}`, doubled, expected);
  });
  const logits = ops.linear(hidden as Tensor, weight as Tensor, bias);
  const separate = ops.crossEntropy(logits, Tensor.fromInts(backend, labels), smoothing);
  close(t, 'crossEntropy', separate.toFloats(), [loss], 1e-6);
  const without = noGrad(call);
  t.false(without.loss.requiresGrad);
  close(t, 'loss without gradients', without.loss.toFloats(), [loss], 1e-6);
});

for (const side of ['t5Encoder', 't5Decoder'] as const) {
  onEachBackend(`attention with relative biases is T5Attention: ${side}`, (t, backend) => {
    const { heads, maxDistance, y, dy, dx, weights, ...values } = fixture[side];
    const isDecoder = side === 't5Decoder';
    const x = leaf(backend, values.x);
    const leaves = Object.fromEntries(
      Object.entries(weights).map(([name, { value }]) => [name, leaf(backend, value)] as const),
    );
    const project = (): [Tensor, Tensor, Tensor] => {
      const [q, k, v] = ['q', 'k', 'v'].map((name) => ops.linear(x, leaves[`${name}.weight`] as Tensor));
      return [q as Tensor, k as Tensor, v as Tensor];
    };
    const [q, k, v] = project();
    const cu = Tensor.fromInts(backend, [0, x.rows]);
    const options = {
      heads,
      scale: 1,
      causal: isDecoder,
      relativeBias: {
        table: leaves['relative_attention_bias.weight'] as Tensor,
        bidirectional: !isDecoder,
        maxDistance,
      },
    };
    const output = leaves['o.weight'] as Tensor;
    const out = ops.linear(ops.attention(q, k, v, cu, cu, options), output);
    close(t, 'y', out.toFloats(), y);
    const gradient = gradientsOf(out, dy);
    close(t, 'dx', gradient(x), dx);
    for (const [name, { grad }] of Object.entries(weights)) close(t, name, gradient(leaves[name] as Tensor), grad);

    // A frozen table gets no gradient; the others are what they were.
    const { table } = options.relativeBias;
    table.requiresGrad = false;
    const ofFrozen = gradientsOf(ops.linear(ops.attention(...project(), cu, cu, options), output), dy);
    close(t, 'dx with a frozen table', ofFrozen(x), dx);
    t.throws(() => ofFrozen(table), { message: /handle 0/ });

    if (!isDecoder) return;
    // The same token by token, keys and values cached.
    let cache: { k: Tensor; v: Tensor } | undefined;
    const steps: number[] = [];
    for (let i = 0; i < x.rows; i += 1) {
      const row = Tensor.fromInts(backend, [i]);
      const one = Tensor.fromInts(backend, [0, 1]);
      const newest = { k: ops.gatherRows(k, row), v: ops.gatherRows(v, row) };
      const cached = Tensor.fromInts(backend, [0, i]);
      cache = cache
        ? {
            k: ops.concatSequences(cache.k, newest.k, cached, one),
            v: ops.concatSequences(cache.v, newest.v, cached, one),
          }
        : newest;
      const keys = Tensor.fromInts(backend, [0, i + 1]);
      const attended = ops.attention(ops.gatherRows(q, row), cache.k, cache.v, one, keys, options);
      steps.push(...ops.linear(attended, output).toFloats());
    }
    close(t, 'step by step', Float32Array.from(steps), y);
  });
}

onEachBackend('gatedActivate makes T5DenseGatedActDense', (t, backend) => {
  const { activation, y, dy, dx, weights, ...values } = fixture.gatedMlp;
  const x = leaf(backend, values.x);
  const leaves = Object.fromEntries(
    Object.entries(weights).map(([name, { value }]) => [name, leaf(backend, value)] as const),
  );
  const [pre, up] = ['wi_0', 'wi_1'].map((name) => ops.linear(x, leaves[`${name}.weight`] as Tensor));
  const { out, featureMap } = ops.gatedActivate(pre as Tensor, up as Tensor, activationKind(activation));
  const result = ops.linear(out, leaves['wo.weight'] as Tensor);
  close(t, 'y', result.toFloats(), y);
  const o = out.toFloats();
  const means = Array.from({ length: out.cols }, (_, column) =>
    Array.from({ length: out.rows }, (__, row) => o[row * out.cols + column] as number).reduce(
      (sum, value) => sum + value / out.rows,
      0,
    ),
  );
  close(t, 'featureMap', featureMap.toFloats(), means);
  const gradient = gradientsOf(result, dy);
  close(t, 'dx', gradient(x), dx);
  for (const [name, { grad }] of Object.entries(weights)) close(t, name, gradient(leaves[name] as Tensor), grad);
});

for (const name of ['dora', 'doraWithoutBias'] as const) {
  onEachBackend(`doraLinear is peft's: ${name}`, (t, backend) => {
    const c = fixture[name];
    const [x, weight, loraA, loraB, magnitude] = [c.x, c.weight, c.loraA, c.loraB, c.magnitude].map((value) =>
      leaf(backend, value),
    ) as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const bias = c.bias ? leaf(backend, c.bias) : undefined;
    const out = ops.doraLinear(x, weight, bias, loraA, loraB, magnitude, c.scaling);
    close(t, 'y', out.toFloats(), c.y);
    const gradient = gradientsOf(out, c.dy);
    close(t, 'dx', gradient(x), c.dx);
    close(t, 'dLoraA', gradient(loraA), c.dLoraA);
    close(t, 'dLoraB', gradient(loraB), c.dLoraB);
    close(t, 'dMagnitude', gradient(magnitude), c.dMagnitude);
    // The magnitude starts as the norms with B = 0.
    const zero = Tensor.fromFloats(backend, new Float32Array(loraB.size), loraB.shape);
    close(t, 'start', backend.readF32(doraNorms(weight, loraA, zero, c.scaling)), c.startMagnitude);
  });

  onEachBackend(`doraLinear with dropout is made of its parts: ${name}`, (t, backend) => {
    const c = fixture[name];
    const dropout = { p: 0.4, seed: 5, stream: 6 };
    const leaves = (): [Tensor, Tensor, Tensor, Tensor] =>
      [c.x, c.weight, c.loraA, c.loraB].map((value) => leaf(backend, value)) as [Tensor, Tensor, Tensor, Tensor];
    const bias = c.bias ? leaf(backend, c.bias) : undefined;
    const fused = leaves();
    const magnitude = Tensor.fromFloats(backend, c.magnitude.flat() as number[], [c.magnitude.length]);
    const [x, weight, loraA, loraB] = fused;
    const out = ops.doraLinear(x, weight, bias, loraA, loraB, magnitude, c.scaling, dropout);
    const separate = leaves();
    const parts = ((): Tensor => {
      const [x, weight, loraA, loraB] = separate;
      const factors = ops.div(
        magnitude,
        new Tensor(backend, doraNorms(weight, loraA, loraB, c.scaling), [weight.rows]),
      );
      const dropped = ops.dropout(x, dropout);
      const adapted = ops.scaleCols(ops.loraLinear(dropped, weight, undefined, loraA, loraB, c.scaling), factors);
      return ops.add(ops.add(ops.linear(x, weight, bias), ops.scale(ops.linear(dropped, weight), -1)), adapted);
    })();
    close(t, 'y', out.toFloats(), Array.from(parts.toFloats()));
    const [one, other] = [gradientsOf(out, c.dy), gradientsOf(parts, c.dy)];
    fused.forEach((tensor, index) => {
      close(t, `input ${index}`, one(tensor), Array.from(other(separate[index] as Tensor)));
    });
  });
}
