import test from 'ava';
import { collectWarnings, spread, summarize } from '../../ts/report/summarize.js';
import { run, sample } from './sample.js';

test('spread: mean and sample standard deviation by hand', (t) => {
  // (2, 4, 9): mean 5, squares 9 + 1 + 16 = 26, sd = sqrt(26 / 2)
  t.deepEqual(spread([2, 4, 9]), { n: 3, mean: 5, sd: Math.sqrt(13) });
  t.deepEqual(spread([7]), { n: 1, mean: 7, sd: undefined });
  t.is(spread([]), undefined);
  t.deepEqual(spread([NaN, 3, Infinity]), { n: 1, mean: 3, sd: undefined });
});

test('the density change is paired by seed, in whichever order the runs come', (t) => {
  const s = summarize(
    sample({
      runs: [
        run('DEFT', 2, { density: 0.1, metric: 0.8 }),
        run('PEFT', 1, { density: 0.5, metric: 0.9 }),
        run('PEFT', 2, { density: 0.4, metric: 0.7 }),
        run('DEFT', 1, { density: 0.25, metric: 0.8 }),
      ],
    }),
  );
  t.deepEqual(s.pairedSeeds, [1, 2]);
  // seed 1: 50 %, seed 2: 75 %
  t.true(Math.abs(s.densityChange!.mean - 62.5) < 1e-9);
  t.true(Math.abs(s.densityChange!.sd! - Math.sqrt(312.5)) < 1e-9);
  // seed 1: -10 points, seed 2: +10 points
  t.true(Math.abs(s.metricPoints!.mean) < 1e-9);
  t.true(Math.abs(s.metricPoints!.sd! - Math.sqrt(200)) < 1e-9);
});

test('one seed has no standard deviation', (t) => {
  const s = summarize(sample({ runs: [run('PEFT', 1), run('DEFT', 1)] }));
  t.is(s.densityChange!.sd, undefined);
  t.is(s.peft!.metric!.sd, undefined);
});

test('a missing variant gives no difference and a warning', (t) => {
  const result = sample({ runs: [run('PEFT', 1)] });
  const s = summarize(result);
  t.is(s.deft, undefined);
  t.is(s.densityChange, undefined);
  t.is(s.metricPoints, undefined);
  t.true(collectWarnings(result).some((w) => w.startsWith('No DEFT run')));
});

test('a PEFT density of 0 is left out of the change, with a warning', (t) => {
  const result = sample({
    runs: [
      run('PEFT', 1, { density: 0 }),
      run('DEFT', 1, { density: 0.1 }),
      run('PEFT', 2, { density: 0.4 }),
      run('DEFT', 2, { density: 0.1 }),
    ],
  });
  const change = summarize(result).densityChange!;
  t.is(change.n, 1);
  t.true(Math.abs(change.mean - 75) < 1e-9);
  t.true(collectWarnings(result).some((w) => w.includes('PEFT, seed 1') && w.includes('density is 0')));
});

test('unpaired seeds and run warnings are reported', (t) => {
  const warnings = collectWarnings(
    sample({ runs: [run('PEFT', 1, { warnings: ['collapsed'] }), run('DEFT', 1), run('DEFT', 5)] }),
  );
  t.true(warnings.includes('PEFT, seed 1: collapsed'));
  t.true(warnings.some((w) => w.includes('seed 5')));
});
