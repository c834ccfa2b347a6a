import test from 'ava';
import { thinLog } from '../../ts/report/thin-log.js';
import { run } from './sample.js';

test('a long log becomes means of neighbours, a short one stays', (t) => {
  const { log } = run('DEFT', 1);
  t.deepEqual(thinLog(log.slice(0, 3), 3), log.slice(0, 3));
  t.deepEqual(thinLog([], 3), []);
  const five = log.slice(0, 5).map((entry, index) => ({ ...entry, loss: index, lr: 10 * index }));
  const thin = thinLog(five, 2);
  t.deepEqual(
    thin.map(({ step, loss, lr }) => [step, loss, lr]),
    [
      [2, 0.5, 5],
      [5, 3, 30],
    ],
  );
});
