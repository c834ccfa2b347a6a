import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import {
  accuracy,
  f1,
  getMetric,
  isCollapsed,
  majorityShare,
  matthews,
  METRICS,
  pearson,
  spearman,
} from '../../ts/metrics/index.js';

// tp 2, fp 1, fn 1, tn 2.
const predictions = [1, 1, 1, 0, 0, 0];
const labels = [1, 1, 0, 1, 0, 0];

const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-12;

test('accuracy', (t) => {
  t.is(accuracy(predictions, labels), 4 / 6);
  t.is(accuracy(Int32Array.of(2), [2]), 1);
});

test('f1', (t) => {
  t.is(f1(predictions, labels), 4 / 6);
  t.is(f1([1, 1, 1, 1], [1, 0, 0, 0]), 2 / 5);
  t.is(f1([0, 0], [0, 0]), 0);
});

test('matthews', (t) => {
  // (2·2 - 1·1) / sqrt(3·3·3·3)
  t.true(near(matthews(predictions, labels), 3 / 9));
  // tp 1, fp 3, fn 0, tn 1: (1·1 - 3·0) / sqrt(4·1·4·1)
  t.true(near(matthews([1, 1, 1, 1, 0], [1, 0, 0, 0, 0]), 1 / 4));
  t.is(matthews([0, 1], [1, 0]), -1);
  t.is(matthews([1, 1], [1, 0]), 0);
  // Three classes, 3 of 4 right: (3·4 - (1·1 + 1·2 + 2·1)) / sqrt((16 - 6)·(16 - 6))
  t.true(near(matthews([0, 1, 2, 2], [0, 1, 1, 2]), 7 / 10));
});

test('pearson', (t) => {
  // Deviations (-1, 0, 1) and (-1, 1, 0): 1 / sqrt(2·2)
  t.true(near(pearson([1, 2, 3], [1, 3, 2]), 0.5));
  t.true(near(pearson([1, 2, 3], [30, 20, 10]), -1));
  t.is(pearson([0.1, 0.1, 0.1], [1, 2, 3]), 0);
  t.is(pearson([1], [2]), 0);
});

test('spearman', (t) => {
  t.true(near(spearman([1, 10, 100], [1, 2, 3]), 1));
  // Ranks (1, 2, 3, 4) and (2, 1, 4, 3): 1 - 6·4 / (4·15)
  t.true(near(spearman([1, 2, 3, 4], [20, 10, 40, 30]), 0.6));
  // Ranks (1, 2.5, 2.5) and (1, 2, 3): deviations (-1, .5, .5), (-1, 0, 1): 1.5 / sqrt(1.5·2)
  t.true(near(spearman([1, 5, 5], [1, 2, 3]), 1.5 / Math.sqrt(3)));
  t.is(spearman([5, 5], [1, 2]), 0);
});

test('majority share and collapse', (t) => {
  t.is(majorityShare([0, 1, 1, 2]), 0.5);
  t.is(majorityShare([3]), 1);
  t.throws(() => majorityShare([]), { instanceOf: DeftuneError });
  t.true(isCollapsed([1, 1, 1]));
  t.false(isCollapsed([1, 0, 1]));
  t.false(isCollapsed([1]));
});

test('registry, and lists that do not match', (t) => {
  for (const [name, metric] of Object.entries(METRICS)) {
    t.is(getMetric(name), metric);
    t.throws(() => metric([1], [1, 2]), {
      instanceOf: DeftuneError,
      message: `${name}: 1 predictions for 2 labels, expected as many`,
    });
    t.throws(() => metric([], []), { message: `${name}: no labels, expected at least 1` });
  }
  t.throws(() => getMetric('toString'), { message: /metric "toString" is unknown, expected one of accuracy, f1/ });
});
