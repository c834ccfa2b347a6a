import { readFileSync } from 'node:fs';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import {
  accuracy,
  answerF1,
  entityF1,
  entityScores,
  exactMatch,
  f1,
  getMetric,
  isCollapsed,
  majorityShare,
  matthews,
  METRICS,
  pearson,
  perplexity,
  spearman,
  tokenAccuracy,
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

/** Values of scikit-learn, scipy, seqeval and torchmetrics; null where they have none. */
const reference = JSON.parse(readFileSync(new URL('../fixtures/metrics.json', import.meta.url), 'utf8')) as {
  classes: { predictions: number[]; labels: number[]; accuracy: number; f1: number | null; matthews: number }[];
  values: { predictions: number[]; labels: number[]; pearson: number | null; spearman: number | null }[];
  answers: { prediction: string; answers: string[]; exactMatch: number; f1: number | null }[];
  entities: { predictions: string[][]; labels: string[][]; precision: number; recall: number; f1: number }[];
};

test('classes against scikit-learn', (t) => {
  t.true(reference.classes.length > 20);
  for (const { predictions, labels, ...expected } of reference.classes) {
    const what = JSON.stringify({ predictions, labels });
    t.true(near(accuracy(predictions, labels), expected.accuracy), what);
    t.true(near(matthews(predictions, labels), expected.matthews), what);
    if (expected.f1 !== null) t.true(near(f1(predictions, labels), expected.f1), what);
  }
});

test('correlations against scipy, 0 where it has none', (t) => {
  t.true(reference.values.length > 15);
  for (const { predictions, labels, ...expected } of reference.values) {
    const what = JSON.stringify({ predictions, labels });
    t.true(near(pearson(predictions, labels), expected.pearson ?? 0), `${what} ${pearson(predictions, labels)}`);
    t.true(near(spearman(predictions, labels), expected.spearman ?? 0), what);
  }
});

test("answers against SQuAD's script as torchmetrics has it", (t) => {
  t.true(reference.answers.length > 50);
  for (const { prediction, answers, ...expected } of reference.answers) {
    const what = JSON.stringify({ prediction, answers });
    t.is(exactMatch([prediction], [answers]), expected.exactMatch, what);
    // torchmetrics keeps its sums in float32.
    if (expected.f1 !== null) t.true(Math.abs(answerF1([prediction], [answers]) - expected.f1) < 1e-6, what);
  }
});

test("no tokens at all: right, but F1 0, as in v1.1's script", (t) => {
  t.is(exactMatch(['the'], [['a', 'dog']]), 1);
  t.is(answerF1(['the'], [['a', 'dog']]), 0);
  t.is(answerF1([''], [['']]), 0);
});

test('an unanswered question counts as wrong', (t) => {
  t.is(exactMatch(['a cat', undefined], [['The cat.'], ['dog']]), 0.5);
  t.is(answerF1(['cat', undefined], [['cat', 'dog'], ['dog']]), 0.5);
  t.throws(() => exactMatch([], []), { message: 'exactMatch: no labels, expected at least 1' });
});

test('entities against seqeval', (t) => {
  t.true(reference.entities.length > 15);
  for (const { predictions, labels, ...expected } of reference.entities) {
    const what = JSON.stringify({ predictions, labels });
    const found = entityScores(predictions, labels);
    for (const score of ['precision', 'recall', 'f1'] as const) t.true(near(found[score], expected[score]), what);
    t.is(entityF1(predictions, labels), found.f1);
  }
  t.throws(() => entityF1([['O']], [['O', 'O']]), { message: /sequence 0: 1 predictions for 2 labels/ });
});

test('tokens without label do not count', (t) => {
  t.is(tokenAccuracy([[1, 2, 3], [4]], [[1, -100, 0], [4]]), 2 / 3);
  t.throws(() => tokenAccuracy([[1]], [[-100]]), { message: 'tokenAccuracy: no labels, expected at least 1' });
  t.throws(() => tokenAccuracy([[1]], [[1, 2]]), { message: /sequence 0: 1 predictions for 2 labels/ });
});

test('perplexity', (t) => {
  t.is(perplexity(0), 1);
  t.true(near(perplexity(Math.log(8)), 8));
});
