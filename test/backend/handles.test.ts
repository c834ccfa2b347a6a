// Tensors behind handles: scopes free everything, and misuse is a one-line error.
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { Parameter } from '../../ts/nn/parameter.js';
import { linear } from '../../ts/ops/index.js';
import { scope } from '../../ts/tensor/scope.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { openBase } from '../models/bert-fixtures.js';
import { onEachBackend } from './on-each-backend.js';

const level = (backend: Backend): [number, number] => [backend.liveTensors(), backend.liveBytes()];

onEachBackend('a scope frees what was made in it, but for what was kept', (t, backend) => {
  const outside = Tensor.fromFloats(backend, [1, 2, 3, 4], [2, 2]);
  const before = level(backend);
  t.deepEqual(before, [1, 16]);
  let inner = outside;
  let kept = outside;
  scope(backend, () => {
    inner = Tensor.fromFloats(backend, [1, 0, 0, 1], [2, 2]);
    scope(backend, () => {
      kept = linear(outside, inner);
      backend.keep(kept.handle, 1);
      linear(outside, kept);
    });
    t.deepEqual(kept.toFloats(), outside.toFloats());
    t.throws(() => scope(backend, () => inner.toFloats() && backend.add(inner.handle, 0)), { message: /handle 0/ });
    backend.keep(kept.handle, 0);
  });
  t.deepEqual(kept.toFloats(), outside.toFloats());
  t.throws(() => inner.toFloats(), {
    message: `tensor handle ${inner.handle} does not exist (it was freed, or its scope has ended)`,
  });
  kept.dispose();
  // What remains is the packed form of `outside`: none, as it was never a weight.
  t.deepEqual(level(backend), before);
});

onEachBackend('a scope frees also when it throws', (t, backend) => {
  const before = level(backend);
  t.throws(
    () =>
      scope(backend, () => {
        scope(backend, () => {
          Tensor.fromFloats(backend, [1], [1, 1]);
          throw new Error('inside');
        });
      }),
    { message: 'inside' },
  );
  t.deepEqual(level(backend), before);
  t.throws(() => backend.endScope(), { message: /endScope without beginScope/ });
});

onEachBackend('an asynchronous scope is refused, and freed', async (t, backend) => {
  t.throws(() => scope(backend, () => Promise.resolve(Tensor.fromFloats(backend, [1], [1]))), {
    instanceOf: DeftuneError,
    message: 'scope: the body returned a promise, expected a function that does not wait',
  });
  t.is(backend.liveTensors(), 0);
  // Also where the body goes on to fail: no unhandled rejection.
  t.throws(() => scope(backend, () => Promise.reject(new Error('late'))), { message: /^scope: / });
  await Promise.resolve();
});

onEachBackend('the packed forms of a weight are counted, and freed with it', (t, backend) => {
  const weight = Parameter.of(backend, new Float32Array(64 * 64).fill(1), [64, 64]);
  const bare = backend.liveBytes();
  scope(backend, () => linear(Tensor.fromFloats(backend, new Float32Array(64), [1, 64]), weight));
  t.true(backend.liveBytes() >= bare + 64 * 64 * 4);
  backend.writeF32(weight.handle, new Float32Array(64 * 64));
  t.is(backend.liveBytes(), bare, 'a packed form outlived the values it was made of');
  weight.dispose();
  t.deepEqual(level(backend), [0, 0]);
});

onEachBackend('a parameter outlives the scope it was made in', (t, backend) => {
  const parameter = scope(backend, () => Parameter.of(backend, Float32Array.of(1, 2), [2]));
  t.deepEqual([...parameter.toFloats()], [1, 2]);
  parameter.dispose();
  t.is(backend.liveTensors(), 0);
});

onEachBackend('`using` frees at the end of its block, inside a scope or not', (t, backend) => {
  let stale: Tensor | undefined;
  {
    using tensor = Tensor.fromFloats(backend, [1, 2], [2]);
    stale = tensor;
    t.is(backend.liveTensors(), 1);
  }
  t.is(backend.liveTensors(), 0);
  t.throws(() => stale?.toFloats(), { message: /does not exist/ });
  scope(backend, () => {
    using tensor = Tensor.fromFloats(backend, [1, 2], [2]);
    t.is(tensor.toFloats()[1], 2);
  });
  t.is(backend.liveTensors(), 0);
});

onEachBackend('`using` a model frees its parameters', async (t, backend) => {
  {
    using model = await openBase(backend, 'relu');
    t.true(model.info.numLabels === 2 && backend.liveTensors() > 20);
  }
  t.is(backend.liveTensors(), 0);
});

onEachBackend('a freed handle is never given to another tensor', (t, backend) => {
  const freed = Array.from({ length: 100 }, () => {
    const tensor = Tensor.fromFloats(backend, [1], [1]);
    tensor.dispose();
    return tensor;
  });
  const live = Tensor.fromFloats(backend, [7], [1]);
  for (const tensor of freed) {
    t.throws(() => tensor.item(), { message: /does not exist/ });
    // Freeing twice is harmless: `using` and a scope may both do it.
    tensor.dispose();
  }
  t.is(live.item(), 7);
});

onEachBackend('misuse is refused in one line that names the operation and what was expected', (t, backend) => {
  const matrix = backend.uploadF32(new Float32Array(6), 2, 3);
  const ids = backend.uploadI32(Int32Array.of(0, 5), 1, 2);
  const [activations = 0] = Array.from(backend.activate(matrix, 0, 0, 0, 0, 0));
  const before = level(backend);
  const cases: [call: () => unknown, message: RegExp][] = [
    [() => backend.linear(matrix, backend.zeros(4, 2), 0), /^linear: weight is \[4, 2\], expected \[4, 3\]$/],
    [() => backend.linear(matrix, matrix, backend.zeros(1, 5)), /^linear: bias is \[1, 5\], expected 2 elements$/],
    [() => backend.linear(ids, matrix, 0), /^linear: .*expected/],
    [() => backend.add(matrix, 12345), /^tensor handle 12345 does not exist/],
    [() => backend.add(matrix, ids), /^add: b is \[1, 2\], expected 6 elements$/],
    [() => backend.mul(activations, matrix), /^mul: tensor \d+ holds MLP activations, expected f32 values$/],
    [() => backend.gatherRows(matrix, ids), /^embedding: id 5 at position 1 is out of range \(0 to 1\)$/],
    [() => backend.gatherRows(matrix, matrix), /^gatherRows: tensor \d+ holds f32 values, expected i32 values$/],
    [() => backend.readF32(ids), /^readF32: tensor \d+ holds i32 values, expected f32 values$/],
    [() => backend.activation(matrix, 99), /^activation: activation kind is 99, expected/],
    [() => backend.dropout(matrix, 1, 0, 0), /^dropout: dropout probability is 1, expected 0 to less than 1$/],
    [() => backend.dropout(matrix, Number.NaN, 0, 0), /^dropout: dropout probability is NaN, expected/],
    [() => backend.densityValue(matrix, 0, 0), /^densityValue: beta or eps is 0, expected a positive number$/],
    [() => backend.densityValue(matrix, 7, 1), /^densityValue: density loss is 7, expected 0 \(tanh\) or 1 \(l0\)$/],
    [() => backend.uploadF32(new Float32Array(5), 2, 3), /^upload: data is 5 elements, expected \[2, 3\]$/],
    [
      () => backend.uploadBytes(new Uint8Array(4), 'I64', 1, 1),
      /^uploadBytes: dtype is I64, expected F32, F16 or BF16$/,
    ],
    [
      () => backend.uploadBytes(new Uint8Array(5), 'F32', 1, 1),
      /^uploadBytes: data is 5 bytes, expected a multiple of 4/,
    ],
    [() => backend.writeF32(matrix, new Float32Array(7)), /^writeF32: tensor is \[2, 3\], expected 7 elements$/],
    [() => backend.zeros(0xffff_ffff, 0xffff_ffff), /^out of memory: \d+ bytes/],
    [
      () => backend.crossEntropy(matrix, backend.uploadI32(Int32Array.of(0, 3), 1, 2), 0),
      /^softmax_cross_entropy: label 3 at position 1 is out of range \(0 to 2\)$/,
    ],
    [
      () => backend.crossEntropy(matrix, backend.uploadI32(Int32Array.of(0, 1), 1, 2), 1.5),
      /^crossEntropy: label smoothing is 1.5, expected 0 to 1$/,
    ],
    [
      () => backend.linearCrossEntropy(matrix, backend.zeros(5, 2), 0, ids, 0, true, true, false),
      /^linearCrossEntropy: weight is \[5, 2\], expected \[5, 3\]$/,
    ],
    [() => backend.rmsNorm(matrix, backend.zeros(1, 2), 1e-6), /^rmsNorm: gamma is \[1, 2\], expected 3 elements$/],
    [
      () => backend.gatedActivate(matrix, backend.zeros(2, 4), 1, 0, 0, 0, 0),
      /^gatedActivate: up is \[2, 4\], expected \[2, 3\]$/,
    ],
    [
      () => backend.concatSequences(backend.zeros(2, 4), matrix, 0, backend.uploadI32(Int32Array.of(0, 2), 1, 2)),
      /^concatSequences: b is \[2, 3\], expected \[2, 4\]$/,
    ],
    [
      () => backend.concatSequences(matrix, matrix, ids, backend.uploadI32(Int32Array.of(0, 2), 1, 2)),
      /^concatSequences: offset 5 at position 1 is out of range \(0 to 2\)$/,
    ],
    [() => backend.sliceCols(matrix, 2, 2), /^sliceCols: columns is 2 from 2 on, expected inside 3 columns$/],
    [() => backend.putCols(matrix, backend.zeros(2, 2), 2), /^putCols: columns is 2 from 2 on, expected inside 3/],
    [() => backend.scaleCols(matrix, backend.zeros(1, 4), 0), /^scaleCols: factors is \[1, 4\], expected 3 elements$/],
    [
      () => attentionWithBias(backend, backend.zeros(8, 2), 20),
      /^attention: biasTable is \[8, 2\], expected \[8, 1\]$/,
    ],
    [() => attentionWithBias(backend, backend.zeros(3, 1), 20), /^attention: number of relative position buckets is 3/],
    [() => attentionWithBias(backend, backend.zeros(8, 1), 2), /^attention: maximal relative distance is 2, expected/],
    [() => backend.addInPlace(matrix, matrix, 1), /addInPlace: y is also x$/],
  ];
  for (const [call, message] of cases) {
    backend.beginScope();
    const error = t.throws(call, { instanceOf: Error });
    backend.endScope();
    t.regex(error?.message ?? '', message);
    t.false(error?.message.includes('\n') ?? true);
  }
  t.deepEqual(level(backend), before);
  // The backend still works.
  t.is(backend.readF32(backend.add(matrix, matrix)).length, 6);
});

onEachBackend('NaN and infinity pass through, and are seen', (t, backend) => {
  const x = backend.uploadF32(Float32Array.of(Number.NaN, 1, -Infinity, 2), 2, 2);
  const weight = backend.uploadF32(Float32Array.of(1, 1, 1, 1), 2, 2);
  t.deepEqual([...backend.readF32(backend.linear(x, weight, 0))], [Number.NaN, Number.NaN, -Infinity, -Infinity]);
  t.true(Number.isNaN(backend.sumSquares(x)));
  // A NaN activation is not a zero: it is kept, counted, and makes the feature map NaN.
  const [out = 0, map = 0] = Array.from(backend.activate(x, 0, 0, 0, 0, 0));
  t.is(backend.nonzeros(out), 3);
  t.true(Number.isNaN(backend.readF32(map)[0]));
  const [loss = 0] = Array.from(backend.crossEntropy(x, backend.uploadI32(Int32Array.of(0, 1), 1, 2), 0));
  t.true(Number.isNaN(backend.readF32(loss)[0]));
});

test('a backend that cannot be opened is named with what was tried', async (t) => {
  const open = (options: object): Promise<Backend> => createBackend(options);
  await t.throwsAsync(open({ threads: -1 }), {
    instanceOf: DeftuneError,
    message: /^threads is -1, expected an integer/,
  });
  await t.throwsAsync(open({ threads: 1.5 }), { instanceOf: DeftuneError, message: /^threads is 1.5, expected/ });
  await t.throwsAsync(open({ backend: 'native', isa: 'mmx' }), {
    instanceOf: DeftuneError,
    message: /^no backend could be opened; tried native: instruction set 'mmx' is not available here; found: .*scalar/,
  });
});

/** Attention over one sequence of two tokens, with biases. */
function attentionWithBias(backend: Backend, table: number, maxDistance: number): unknown {
  const x = backend.zeros(2, 4);
  const cu = backend.uploadI32(Int32Array.of(0, 2), 1, 2);
  return backend.attention(x, x, x, cu, cu, 1, false, 1, 0, 0, 0, table, true, maxDistance, 0);
}
