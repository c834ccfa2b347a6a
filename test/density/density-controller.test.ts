// The controller on a model of a model: its density answers to alpha late, its metric falls with the density.
import test from 'ava';
import { alphaFactor } from '../../ts/density/alpha-schedule.js';
import { densityController, type DensityBudget } from '../../ts/density/density-controller.js';
import { DeftuneError } from '../../ts/error.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import { Rng } from '../../ts/data/rng.js';

type Controller = AuxiliaryLoss & { description: string };

const loss = (weight = 0.03): Controller => ({
  name: 'densityLoss',
  description: 'tanh',
  weight,
  compute: () => {
    throw new Error('not called');
  },
});

interface Seen {
  step: number;
  alpha: number;
  metric: number;
  density: number;
  score: number;
}

/** A run of `steps` with an evaluation each 10: alpha pulls the density towards 0.3 / (1 + 30 alpha), and the metric costs 0.3 of what it falls below 0.15. */
function run(
  controller: Controller,
  {
    steps = 400,
    from = 0,
    noise = 0,
    start = 0.3,
    gain = () => 0,
    onEvaluate = () => {},
  }: {
    steps?: number;
    from?: number;
    noise?: number;
    start?: number;
    gain?: (step: number) => number;
    onEvaluate?: (seen: Seen) => void;
  } = {},
): Seen[] {
  const rng = new Rng(7, 1);
  let density = start;
  const seen: Seen[] = [];
  for (let step = from + 1; step <= steps; step++) {
    controller.beginStep?.(step, steps);
    density += 0.03 * (0.3 / (1 + 30 * controller.weight) - density);
    controller.onStep?.({ taskLoss: 0.5, density });
    if (step % 10 !== 0) continue;
    const alpha = controller.weight;
    const metric = 0.8 - 0.3 * Math.max(0, 0.15 - density) + gain(step) + noise * rng.nextNormal();
    const evaluation = { step, loss: 1 - metric, metric, density };
    controller.onEvaluate?.(evaluation);
    const entry = { step, alpha, metric, density, score: controller.score?.(evaluation) ?? Number.NaN };
    seen.push(entry);
    onEvaluate(entry);
  }
  return seen;
}

const best = (seen: readonly Seen[]): Seen => seen.reduce((a, b) => (b.score > a.score ? b : a));

test('alpha is 0 in the plain phase, then rises until the budget is used up, and stays about there', (t) => {
  const seen = run(densityController(loss(), { maxMetricDrop: 1 }));
  const plain = seen.filter(({ step }) => step <= 80);
  t.true(plain.every(({ alpha, density }) => alpha === 0 && density > 0.299));
  const chosen = best(seen);
  // One point is lost at a density of 0.15 - 0.01 / 0.3.
  const limit = 0.15 - 0.01 / 0.3;
  t.true(chosen.density >= limit - 1e-9 && chosen.density < limit * 1.15, `${chosen.density}, ${limit}`);
  t.true(
    seen.filter(({ step }) => step > 250).every(({ metric }) => metric > 0.8 - 0.03),
    'no collapse',
  );
});

test('a noisy metric does not stop it', (t) => {
  const seen = run(densityController(loss(), { maxMetricDrop: 1 }), { noise: 0.004 });
  t.true(best(seen).density < 0.16, `${best(seen).density}`);
  t.true(seen.every(({ metric }) => metric > 0.74));
});

test('beside a plain run the drop is counted from its metric at the same step', (t) => {
  // Both gain a tenth in the run, which a run without a reference takes for room to lose.
  const gain = (step: number): number => 0.1 * (step / 400);
  const reference = Array.from({ length: 40 }, (_, at) => ({ step: 10 * (at + 1), metric: 0.8 + gain(10 * (at + 1)) }));
  const lost = (budget: DensityBudget): number => {
    const controller = densityController(loss(), budget);
    const chosen = best(run(controller, { gain }));
    return 0.8 + gain(chosen.step) - chosen.metric;
  };
  const [beside, alone] = [lost({ maxMetricDrop: 1, reference }), lost({ maxMetricDrop: 1 })];
  t.true(beside <= 0.0101 && beside > 0, `${beside}`);
  t.true(alone > 0.0101, `${alone}`);
});

test('in the end what the run costs is counted from where the plain one ended', (t) => {
  const reference = [100, 200, 300, 400].map((step) => ({ step, metric: step === 400 ? 0.9 : 0.8 }));
  const controller = densityController(loss(), { maxMetricDrop: 2, reference });
  controller.onEvaluate?.({ step: 80, loss: 0, metric: 0.8, density: 0.2 });
  controller.beginStep?.(390, 400);
  const score = (step: number, metric: number): number =>
    controller.score?.({ step, loss: 0, metric, density: 0.1 }) ?? 0;
  t.true(score(390, 0.8) < 0);
  t.true(score(390, 0.881) > 1);
  t.true(score(395, 0.881) > score(390, 0.89));
});

test('alpha weighs in proportion to a task loss above ln 2, and as it is below', (t) => {
  const begin = (taskLoss: number): number => {
    const controller = densityController(loss(0.03), { maxMetricDrop: 1 });
    for (let step = 1; step <= 21; step++) {
      controller.beginStep?.(step, 100);
      if (step <= 20) controller.onStep?.({ taskLoss, density: 0.3 });
    }
    return controller.weight;
  };
  t.is(begin(0.5), 0.03);
  t.true(Math.abs(begin(4 * Math.LN2) - 0.12) < 1e-12);
});

test('batches that are denser than the evaluation do not drive alpha', (t) => {
  const alphaAfter = (batches: number): number => {
    const controller = densityController(loss(0.03), { maxMetricDrop: 1 });
    for (let step = 1; step <= 40; step++) {
      controller.beginStep?.(step, 100);
      controller.onStep?.({ taskLoss: 0.5, density: batches });
      if (step % 10 === 0) controller.onEvaluate?.({ step, loss: 0.5, metric: 0.8, density: 0.2 });
    }
    return controller.weight;
  };
  t.true(Math.abs(alphaAfter(0.2) - alphaAfter(0.3)) < 1e-9);
});

test('once the density is held the aim no longer falls, and the last evaluation within the budget is the best', (t) => {
  const seen = run(densityController(loss(), { maxMetricDrop: 30, holdFrom: 0.5 }));
  const at = (step: number): number => seen.find((entry) => entry.step === step)?.density ?? Number.NaN;
  t.true(at(200) < 0.3 * at(120));
  t.true(at(400) > 0.7 * at(250), `${at(250)}, ${at(400)}`);
  t.is(best(seen).step, 400);
  const falling = run(densityController(loss(), { maxMetricDrop: 30, holdFrom: 1 }));
  t.true((falling.at(-1)?.density ?? 1) < 0.8 * at(400));
});

test('the pace that was lost to a metric that fell by chance comes back where it recovers', (t) => {
  // How alpha grows in the last two steps, with these evaluations at 0.75 and the others at 0.8.
  const growth = (misfortunes: readonly number[]): number => {
    const controller = densityController(loss(), { maxMetricDrop: 1 });
    let before = 0;
    for (let step = 1; step <= 60; step++) {
      if (step === 59) before = controller.weight;
      controller.beginStep?.(step, 100);
      controller.onStep?.({ taskLoss: 0.5, density: 0.3 });
      if (step % 2 !== 0) continue;
      controller.onEvaluate?.({ step, loss: 0.5, metric: misfortunes.includes(step) ? 0.75 : 0.8, density: 0.3 });
    }
    return controller.weight / before;
  };
  t.true(Math.abs(growth([24, 28, 32]) - growth([])) < 1e-9);
  t.true(growth([54, 58]) < growth([]));
});

test('a target is held without a plain phase, whatever alpha was at first', (t) => {
  for (const first of [0.003, 0.3]) {
    const seen = run(densityController(loss(first), { targetDensity: 0.2 }));
    t.true((seen[0]?.alpha ?? 0) > 0);
    const late = seen.filter(({ step }) => step > 250);
    t.true(
      late.every(({ density }) => density > 0.14 && density < 0.26),
      late.map(({ density }) => density).join(),
    );
    t.true(best(seen).density <= 0.2);
  }
});

test('with both, whichever comes first', (t) => {
  const far = best(run(densityController(loss(), { maxMetricDrop: 1, targetDensity: 0.2 }))).density;
  t.true(far <= 0.2 && far > 0.14, `${far}`);
  const dear = best(run(densityController(loss(), { maxMetricDrop: 1, targetDensity: 0.02 }))).density;
  t.true(dear > 0.11, `${dear}`);
});

test('evaluations within the budget are ranked by density, the others by what they lack', (t) => {
  const controller = densityController(loss(), { maxMetricDrop: 2 });
  controller.beginStep?.(1, 10);
  controller.onEvaluate?.({ step: 1, loss: 1, metric: 0.8, density: 0.3 });
  const score = (metric: number, density: number): number =>
    controller.score?.({ step: 1, loss: 1, metric, density }) ?? NaN;
  t.true(score(0.79, 0.1) > score(0.85, 0.2));
  t.true(score(0.85, 0.2) > score(0.77, 0.01));
  t.true(score(0.77, 0.01) > score(0.6, 0.001));
  const target = densityController(loss(), { targetDensity: 0.1 });
  const ranked = (metric: number, density: number): number =>
    target.score?.({ step: 1, loss: 1, metric, density }) ?? NaN;
  t.true(ranked(0.8, 0.09) > ranked(0.7, 0.05), 'below the target the better metric wins');
  t.true(ranked(0.7, 0.09) > ranked(0.8, 0.12));
});

test('a resumed run goes on with the same alphas', (t) => {
  const budget: DensityBudget = { maxMetricDrop: 1 };
  const first = densityController(loss(), budget);
  let saved: unknown;
  let density = 0;
  const whole = run(first, {
    onEvaluate: (entry) => {
      if (entry.step !== 200) return;
      saved = JSON.parse(JSON.stringify(first.state?.()));
      density = entry.density;
    },
  });
  const second = densityController(loss(), budget);
  second.load?.(saved);
  const resumed = run(second, { from: 200, start: density });
  t.deepEqual(
    resumed.map(({ alpha }) => alpha),
    whole.filter(({ step }) => step > 200).map(({ alpha }) => alpha),
  );
});

test('what cannot be is refused in one line', (t) => {
  const refused = (budget: DensityBudget, message: RegExp): void => {
    t.throws(() => densityController(loss(), budget), { instanceOf: DeftuneError, message });
  };
  refused({}, /expected maxMetricDrop, targetDensity or both/);
  refused({ maxMetricDrop: -1 }, /maxMetricDrop is -1/);
  refused({ targetDensity: 8 }, /targetDensity is 8/);
  refused({ maxMetricDrop: 1, descent: 1 }, /descent is 1/);
  refused({ maxMetricDrop: 1, holdFrom: 2 }, /holdFrom is 2/);
  refused({ maxMetricDrop: 1, reference: [] }, /reference/);
  const controller = densityController(loss(), { maxMetricDrop: 1 });
  controller.beginStep?.(39, 100);
  t.throws(() => controller.beginStep?.(40, 100), {
    message: /^density budget: no evaluation up to step 40 of 100, expected an evaluation set/,
  });
});

test('schedules of alpha, by hand', (t) => {
  t.is(alphaFactor('constant', 1, 100, 0.5), 1);
  t.is(alphaFactor('linear', 10, 100, 0.5), 0.2);
  t.is(alphaFactor('linear', 10, 100, 20), 0.5);
  t.is(alphaFactor('linear', 60, 100, 0.5), 1);
  t.true(Math.abs(alphaFactor('sine', 25, 100, 0.5) - 0.5) < 1e-12);
  t.true(Math.abs(alphaFactor('sine', 5, 100, 10) - 0.5) < 1e-12);
  t.is(alphaFactor('sine', 50, 100, 0.5), 1);
  t.true(alphaFactor('sine', 1, 100, 100) < 0.001);
  t.is(alphaFactor('linear', 1, 100, 0), 1);
});
