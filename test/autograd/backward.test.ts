import { backward } from '../../ts/autograd/backward.js';
import { noGrad, recordOne } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import { DeftuneError } from '../../ts/error.js';
import { add, meanSquaredError, mul, scale } from '../../ts/ops/index.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { onEachBackend } from '../backend/on-each-backend.js';

function leaf(backend: Backend, ...values: number[]): Tensor {
  const tensor = Tensor.fromFloats(backend, values, [values.length, 1]);
  tensor.requiresGrad = true;
  return tensor;
}

const zero = (backend: Backend, rows: number): Tensor => Tensor.fromFloats(backend, new Float32Array(rows), [rows, 1]);

onEachBackend('gradients by hand, with a seed', (t, backend) => {
  const [a, b] = [leaf(backend, 2, 3), leaf(backend, 5, 7)];
  // L = mean((2ab)²) = 4 · mean(a²b²)
  const loss = meanSquaredError(scale(mul(a, b), 2), zero(backend, 2));
  t.is(loss.item(), (4 * (100 + 441)) / 2);
  const found = backward(loss, { seed: 0.5 });
  t.deepEqual([...backend.readF32(found.get(a) as number)], [0.5 * 4 * 2 * 25, 0.5 * 4 * 3 * 49]);
  t.deepEqual([...backend.readF32(found.get(b) as number)], [0.5 * 4 * 5 * 4, 0.5 * 4 * 7 * 9]);
});

onEachBackend('an operation that hands on one gradient gives each leaf its own', (t, backend) => {
  const [a, b, c] = [leaf(backend, 1), leaf(backend, 2), leaf(backend, 3)];
  const found = backward(meanSquaredError(add(add(a, b), c), zero(backend, 1)));
  const handles = [a, b, c].map((tensor) => found.get(tensor) as number);
  t.is(new Set(handles).size, 3);
  backend.addInPlace(handles[0] as number, handles[1] as number, 1);
  t.deepEqual(
    handles.map((handle) => backend.readF32(handle)[0]),
    [24, 12, 12],
  );
});

onEachBackend('a leaf used again and again gets the sum', (t, backend) => {
  const a = leaf(backend, 3);
  // y = a³ + a + a
  const y = add(mul(mul(a, a), a), add(a, a));
  const found = backward(recordOne('sum', backend, [y], y.handle, [1, 1], (dy) => [dy]));
  t.is(backend.readF32(found.get(a) as number)[0], 3 * 9 + 2);
});

onEachBackend('a releasing pass leaves the leaves, their gradients and what was not recorded', (t, backend) => {
  const [a, b] = [leaf(backend, 1, 2), leaf(backend, 3, 4)];
  const target = zero(backend, 2);
  const graph = (): Tensor => {
    const product = mul(a, b);
    // One gradient for two inputs, one input used twice, an operation that returns its input, a branch that no gradient reaches.
    const sum = add(add(product, a), add(product, product));
    scale(sum, 3);
    return meanSquaredError(
      recordOne('same', backend, [sum], sum.handle, [2, 1], (dy) => [dy]),
      target,
    );
  };
  const expected = backward(graph());
  backend.beginScope();
  const loss = graph();
  const unreached = 1;
  const before = backend.liveTensors();
  const found = backward(loss, { release: true });
  for (const tensor of [a, b]) {
    t.deepEqual(backend.readF32(found.get(tensor) as number), backend.readF32(expected.get(tensor) as number));
  }
  backend.endScope();
  t.is(backend.liveTensors() + unreached + 2 <= before, true);
  t.is(backend.readF32(a.handle)[1], 2);
  t.throws(() => loss.item(), { message: /handle/ });
});

onEachBackend('what needs no gradient gets none', (t, backend) => {
  const [a, fixed] = [leaf(backend, 2), zero(backend, 1)];
  const loss = meanSquaredError(mul(a, fixed), fixed);
  t.deepEqual([...backward(loss).keys()], [a]);
  const silent = noGrad(() => meanSquaredError(mul(a, a), fixed));
  t.is(silent.node, undefined);
  t.false(silent.requiresGrad);
  t.throws(() => noGrad(() => backend.readF32(0)), { message: /handle 0/ });
  // Recording is on again, also after an error.
  t.true(mul(a, a).requiresGrad);
});

onEachBackend('a loss that cannot be differentiated is refused', (t, backend) => {
  const a = leaf(backend, 2, 3);
  const refused = { instanceOf: DeftuneError, message: /^backward needs a loss of one element that depends on/ };
  t.throws(() => backward(mul(a, a)), refused);
  t.throws(() => backward(zero(backend, 1)), refused);
});

onEachBackend('an operation that forgets an input is named', (t, backend) => {
  const a = leaf(backend, 2);
  const loss = recordOne('forgetful', backend, [a], a.handle, [1, 1], () => [0]);
  t.throws(() => backward(loss), {
    instanceOf: DeftuneError,
    message: 'forgetful: no gradient for input 0, which requires one',
  });
});
