// Operations against PyTorch autograd: the values of test/fixtures/ops.json (see make_ops.py).
import { readFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import { recordOne } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import * as ops from '../../ts/ops/index.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { onEachBackend } from '../backend/on-each-backend.js';

/** Relative to 1 + |expected|: about ten roundings of f32. */
const TOLERANCE = 2e-6;

interface Activation {
  y64: number[];
  dx64: number[];
}

interface Fixture {
  activations: { x: number[] } & Record<'gelu' | 'gelu_new' | 'silu' | 'relu' | 'tanh', Activation>;
  layerNorm: Record<'x' | 'y' | 'dy' | 'dx', number[][]> &
    Record<'weight' | 'bias' | 'dweight' | 'dbias', number[]> & { shape: number[]; eps: number };
  crossEntropy: { shape: number[]; logits: number[][]; labels: number[]; loss: number; dlogits: number[][] };
  mse: Record<'x' | 'target' | 'dx', number[]> & { loss: number };
  adamw: {
    lr: number;
    betas: [number, number];
    eps: number;
    weightDecay: number;
    initial: number[];
    steps: { grad: number[]; param: number[] }[];
  };
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/ops.json', import.meta.url), 'utf8')) as Fixture;

function close(t: ExecutionContext, found: ArrayLike<number>, expected: readonly number[], what: string): void {
  t.is(found.length, expected.length, what);
  for (const [index, right] of expected.entries()) {
    const error = Math.abs((found[index] as number) - right);
    t.true(error <= TOLERANCE * (1 + Math.abs(right)), `${what}[${index}] is ${found[index]}, expected ${right}`);
  }
}

function leaf(backend: Backend, values: readonly number[], shape: readonly number[]): Tensor {
  const tensor = Tensor.fromFloats(backend, values, shape);
  tensor.requiresGrad = true;
  return tensor;
}

/** Gradients of the inputs when that of the output is `dy`. */
function pullBack(y: Tensor, dy: readonly number[], inputs: readonly Tensor[]): Float32Array[] {
  const { backend } = y;
  const zero = backend.zeros(1, 1);
  const loss = recordOne('given', backend, [y], zero, [1, 1], () => [
    backend.uploadF32(Float32Array.from(dy), y.rows, y.cols),
  ]);
  const found = backward(loss);
  return inputs.map((input) => backend.readF32(found.get(input) ?? 0));
}

for (const name of ['gelu', 'gelu_new', 'silu', 'relu', 'tanh'] as const) {
  onEachBackend(`${name} and its derivative from -100 to 100`, (t, backend) => {
    const { x } = fixture.activations;
    const { y64, dx64 } = fixture.activations[name];
    const ones = x.map(() => 1);
    const plain = leaf(backend, x, [1, x.length]);
    const y = ops.activation(plain, activationKind(name));
    close(t, y.toFloats(), y64, 'activation');
    close(t, pullBack(y, ones, [plain])[0] ?? [], dx64, 'derivative of activation');
    const pre = leaf(backend, x, [1, x.length]);
    const { out } = ops.activate(pre, activationKind(name));
    close(t, out.toFloats(), y64, 'activate');
    close(t, pullBack(out, ones, [pre])[0] ?? [], dx64, 'derivative of activate');
  });
}

onEachBackend('layer norm', (t, backend) => {
  const { shape, eps, x, weight, bias, y, dy, dx, dweight, dbias } = fixture.layerNorm;
  const inputs = [leaf(backend, x.flat(), shape), leaf(backend, weight, [6]), leaf(backend, bias, [6])] as const;
  const out = ops.layerNorm(...inputs, eps);
  close(t, out.toFloats(), y.flat(), 'y');
  const gradients = pullBack(out, dy.flat(), inputs);
  for (const [index, expected] of [dx.flat(), dweight, dbias].entries()) {
    close(t, gradients[index] ?? [], expected, ['dx', 'dweight', 'dbias'][index] as string);
  }
});

onEachBackend('cross-entropy with ignored labels', (t, backend) => {
  const { shape, logits, labels, loss, dlogits } = fixture.crossEntropy;
  const x = leaf(backend, logits.flat(), shape);
  const found = ops.crossEntropy(x, Tensor.fromInts(backend, labels));
  close(t, [found.item()], [loss], 'loss');
  close(t, backend.readF32(backward(found).get(x) ?? 0), dlogits.flat(), 'dlogits');
});

onEachBackend('cross-entropy without any label is NaN, as in PyTorch, and has no gradient', (t, backend) => {
  const x = leaf(backend, [1, 2, 3, 4], [2, 2]);
  const loss = ops.crossEntropy(x, Tensor.fromInts(backend, [-100, -100]));
  t.is(loss.item(), Number.NaN);
  t.deepEqual([...backend.readF32(backward(loss).get(x) ?? 0)], [0, 0, 0, 0]);
});

onEachBackend('mean squared error', (t, backend) => {
  const { x, target, loss, dx } = fixture.mse;
  const prediction = leaf(backend, x, [5, 1]);
  const found = ops.meanSquaredError(prediction, Tensor.fromFloats(backend, target, [5, 1]));
  close(t, [found.item()], [loss], 'loss');
  close(t, backend.readF32(backward(found).get(prediction) ?? 0), dx, 'dx');
});

onEachBackend('five steps of AdamW', (t, backend) => {
  const { lr, betas, eps, weightDecay, initial, steps } = fixture.adamw;
  const [param, m, v] = [backend.uploadF32(Float32Array.from(initial), 1, 6), backend.zeros(1, 6), backend.zeros(1, 6)];
  // The gradient comes scaled, as clipping has it.
  const gradScale = 0.25;
  for (const [index, { grad, param: expected }] of steps.entries()) {
    const scaled = backend.uploadF32(
      Float32Array.from(grad, (value) => value / gradScale),
      1,
      6,
    );
    backend.adamwStep(param, scaled, m, v, lr, ...betas, eps, weightDecay, index + 1, gradScale);
    close(t, backend.readF32(param), expected, `after step ${index + 1}`);
  }
});
