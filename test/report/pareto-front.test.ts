import test from 'ava';
import { paretoFront } from '../../ts/report/pareto-front.js';

test('the front keeps what nothing beats in both', (t) => {
  const points = [
    { density: 3, metric: 70 },
    { density: 1, metric: 50 },
    { density: 2, metric: 49 },
    { density: 4, metric: 70 },
    { density: 3, metric: 60 },
    { density: 9, metric: 80 },
  ];
  t.deepEqual(paretoFront(points), [
    { density: 1, metric: 50 },
    { density: 3, metric: 70 },
    { density: 9, metric: 80 },
  ]);
  t.deepEqual(paretoFront([]), []);
});
