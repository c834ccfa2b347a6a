import test from 'ava';
import { batchIndices, collate } from '../../ts/data/batching.js';
import { Rng } from '../../ts/data/rng.js';
import { DeftuneError } from '../../ts/error.js';

test('batches in order, the last one smaller', (t) => {
  t.deepEqual(batchIndices(5, 2), [[0, 1], [2, 3], [4]]);
  t.deepEqual(batchIndices(0, 2), []);
  t.throws(() => batchIndices(5, 0), { instanceOf: DeftuneError, message: /batchSize is 0/ });
  t.throws(() => batchIndices(-1, 1), { message: /n is -1/ });
});

test('shuffling is deterministic, complete, and differs by seed and epoch', (t) => {
  const order = (seed: number, epoch: number): number[] => batchIndices(100, 7, { shuffle: true, seed, epoch }).flat();
  t.deepEqual(order(1, 2), order(1, 2));
  t.deepEqual(
    [...order(1, 2)].sort((a, b) => a - b),
    batchIndices(100, 100)[0],
  );
  const distinct = new Set(
    [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 2],
      [2, 1],
      [2 ** 32, 0],
    ].map(([s, e]) => order(s!, e!).join()),
  );
  t.is(distinct.size, 6);
});

test('the generator is pinned, and even', (t) => {
  // Fixed so that a change, which would silently alter every run, is noticed.
  const rng = new Rng();
  t.deepEqual([rng.nextUint32(), rng.nextUint32()], [1684164658, 3653269916]);
  const counts = [0, 0, 0];
  for (let i = 0; i < 30_000; i++) counts[rng.nextBelow(3)]! += 1;
  for (const count of counts) t.true(Math.abs(count - 10_000) < 400);
  const float = rng.nextFloat();
  t.true(float >= 0 && float < 1);
});

test('collates without padding', (t) => {
  const batch = collate([
    { inputIds: [5, 6, 7], tokenTypeIds: [0, 0, 1], label: 1 },
    { inputIds: Int32Array.of(8), label: 0 },
  ]);
  t.deepEqual(batch, {
    inputIds: Int32Array.of(5, 6, 7, 8),
    tokenTypeIds: Int32Array.of(0, 0, 1, 0),
    positionIds: Int32Array.of(0, 1, 2, 0),
    cuSeqlens: Int32Array.of(0, 3, 4),
    labels: Int32Array.of(1, 0),
    size: 2,
    tokens: 4,
  });
});

test('labels are classes, targets or absent', (t) => {
  t.is(collate([{ inputIds: [1] }]).labels, undefined);
  t.deepEqual(collate([{ inputIds: [1], label: 0.5 }]).labels, Float32Array.of(0.5));
  t.deepEqual(collate([{ inputIds: [1], label: 2 }], { regression: true }).labels, Float32Array.of(2));
  t.throws(() => collate([{ inputIds: [1], label: 2 }, { inputIds: [1] }]), {
    message: /example 1 .* label is missing/,
  });
  t.throws(() => collate([{ inputIds: [] }]), { instanceOf: DeftuneError, message: /example 0 .* inputIds is empty/ });
  t.throws(() => collate([{ inputIds: [1], tokenTypeIds: [] }]), {
    message: /tokenTypeIds has 0 elements, expected 1/,
  });
});
