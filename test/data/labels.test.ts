import test from 'ava';
import { resolveLabels } from '../../ts/data/labels.js';
import type { DataRecord } from '../../ts/data/record.js';
import { DeftuneError } from '../../ts/error.js';

const records = (...labels: (number | string | undefined)[]): DataRecord[] =>
  labels.map((label, i) => ({ text: 'x', line: i + 2, ...(label === undefined ? {} : { label }) }));

test('numbers are class indexes', (t) => {
  t.deepEqual(resolveLabels(records(1, 0, 2), 'f'), {
    labels: [1, 0, 2],
    names: ['LABEL_0', 'LABEL_1', 'LABEL_2'],
    regression: false,
  });
  t.deepEqual(resolveLabels(records(1, 1), 'f', ['no', 'yes']), {
    labels: [1, 1],
    names: ['no', 'yes'],
    regression: false,
  });
  t.deepEqual(resolveLabels(records(1), 'f', { 1: 'yes', 0: 'no' }).names, ['no', 'yes']);
});

test('names are sorted, or looked up in the known ones', (t) => {
  t.deepEqual(resolveLabels(records('b', 'a', 'b'), 'f'), { labels: [1, 0, 1], names: ['a', 'b'], regression: false });
  t.deepEqual(resolveLabels(records('b', 'a'), 'f', { 0: 'b', 1: 'a' }).labels, [0, 1]);
  t.deepEqual(resolveLabels(records('b', 'a'), 'f', { 0: 'LABEL_0', 1: 'LABEL_1' }).names, ['a', 'b']);
  t.deepEqual(resolveLabels(records('constructor', 'a'), 'f').labels, [1, 0]);
});

test('a validation file resolves against the training file', (t) => {
  const names = resolveLabels(records('b', 'a', 'c'), 'train');
  t.deepEqual(resolveLabels(records('c', 'c'), 'valid', names).labels, [2, 2]);
  t.throws(() => resolveLabels(records('a', 'd'), 'valid', names), {
    instanceOf: DeftuneError,
    message: 'valid:3: label is "d", expected one of "a", "b", "c"',
  });
  const numbers = resolveLabels(records(0, 1), 'train');
  t.deepEqual(resolveLabels(records(1), 'valid', numbers).labels, [1]);
  t.throws(() => resolveLabels(records(2), 'valid', numbers), {
    message: 'valid:2: label is 2, expected 0 to 1 ("LABEL_0", "LABEL_1")',
  });
});

test('a fraction makes it regression, in the validation file too', (t) => {
  const train = resolveLabels(records(1, 0.5, -2), 'train', { 0: 'LABEL_0', 1: 'LABEL_1' });
  t.deepEqual(train, { labels: [1, 0.5, -2], names: [], regression: true });
  t.deepEqual(resolveLabels(records(7, -3), 'valid', train), { labels: [7, -3], names: [], regression: true });
  t.throws(() => resolveLabels(records('a'), 'valid', train), { message: /valid:2: label is "a", expected a number/ });
});

test('default names of a config give the number of classes', (t) => {
  const three = { 0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2' };
  t.deepEqual(resolveLabels(records(0, 1), 'f', three).names, ['LABEL_0', 'LABEL_1', 'LABEL_2']);
  t.deepEqual(resolveLabels(records(2, 0), 'f', three).labels, [2, 0]);
  t.is(resolveLabels(records(0, 3), 'f', three).names.length, 4);
  t.throws(() => resolveLabels(records(0, 4), 'f', three), { message: /f:3: label is 4, .* no record has label 3/ });
  t.deepEqual(resolveLabels(records(2, 0), 'f', { 0: 'LABEL_0' }), { labels: [2, 0], names: [], regression: true });
});

test('labels that cannot be', (t) => {
  const rejects = (labels: (number | string | undefined)[], expected: RegExp, known?: string[]): unknown =>
    t.throws(() => resolveLabels(records(...labels), 'f', known), { instanceOf: DeftuneError, message: expected });
  rejects([1, undefined], /f:3: label is missing/);
  rejects([1, 'a'], /f:3: label is "a", expected a number as on line 2 \(1\)/);
  rejects([0, -1], /f:3: label is -1, expected a class index of at least 0/);
  rejects([0, 2], /f:3: label is 2, .* no record has label 1/);
  rejects([0, 1e12], /no record has label 1/);
  rejects([0, 5], /f:3: label is 5, expected 0 to 1 \("no", "yes"\)/, ['no', 'yes']);
  rejects([0, 0.5], /f:3: label is 0.5, expected 0 to 1/, ['no', 'yes']);
  rejects(['maybe'], /f:2: label is "maybe", expected one of "no", "yes"/, ['no', 'yes']);
  t.throws(() => resolveLabels(records(0), 'f', { 0: 'a', 2: 'b' }), { message: /id2label has the keys 0, 2/ });
});
