import test from 'ava';
import fc from 'fast-check';
import { bestSpan } from '../../ts/data/best-span.js';
import { DeftuneError } from '../../ts/error.js';

test('the largest sum in order, in the context', (t) => {
  const mask = [0, 1, 1, 1];
  t.deepEqual(bestSpan([9, 1, 2, 0], [9, 3, 0, 1], mask), { start: 1, end: 1, score: 4 });
  // The best end is before the best start.
  t.deepEqual(bestSpan([0, 0, 5, 0], [0, 6, 1, 3], mask), { start: 2, end: 3, score: 8 });
  t.deepEqual(bestSpan([0, 5, 0, 0], [0, 0, 0, 5], mask, { maxAnswerLength: 2 }), { start: 1, end: 2, score: 5 });
  t.deepEqual(bestSpan([0, 5, 0, 0], [0, 0, 0, 5], mask, { maxAnswerLength: 3 }), { start: 1, end: 3, score: 10 });
});

test('the nBest are chosen before the mask counts, so that none may be left', (t) => {
  t.is(bestSpan([9, 1, 2], [9, 3, 0], [0, 1, 1], { nBest: 1 }), undefined);
  t.deepEqual(bestSpan([9, 1, 2], [9, 3, 0], [0, 1, 1], { nBest: 2 }), undefined);
  t.deepEqual(bestSpan([9, 1, 2], [9, 3, 0], [0, 1, 1], { nBest: 3 }), { start: 1, end: 1, score: 4 });
  t.is(bestSpan([1], [1], [false]), undefined);
  t.is(bestSpan([], [], []), undefined);
});

test('sums are of single precision', (t) => {
  t.is(bestSpan([0.1], [0.2], [true])?.score, Math.fround(0.1 + 0.2));
});

test('bad arguments', (t) => {
  t.throws(() => bestSpan([1], [1, 2], [1]), {
    instanceOf: DeftuneError,
    message: 'bestSpan: 1 start logits, 2 end logits, a mask of 1, expected as many of each',
  });
  t.throws(() => bestSpan([1], [1], [1], { nBest: 0 }), { message: /nBest is 0/ });
  t.throws(() => bestSpan([1], [1], [1], { maxAnswerLength: 1.5 }), { message: /maxAnswerLength is 1.5/ });
});

test('with all tokens among the best: as trying every pair', (t) => {
  const logits = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 12, maxLength: 12 });
  fc.assert(
    fc.property(logits, logits, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), (starts, ends, mask) => {
      let best = -Infinity;
      for (let i = 0; i < 12; i++)
        for (let j = i; j < Math.min(12, i + 4); j++)
          if (mask[i] && mask[j]) best = Math.max(best, starts[i]! + ends[j]!);
      const found = bestSpan(starts, ends, mask, { maxAnswerLength: 4 });
      t.is(found?.score ?? -Infinity, best);
      if (found) t.is(starts[found.start]! + ends[found.end]!, best);
    }),
    { seed: 1 },
  );
});
