// Ten steps of training against PyTorch, transformers and peft: each loss, density, gradient norm and rate, and the final parameters.
import type { ExecutionContext } from 'ava';
import type { PeftModel } from '../../ts/peft/peft-model.js';
import type { TrainResult } from '../../ts/train/trainer.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import {
  VARIANTS,
  auxiliaryLosses,
  maxAbs,
  maxDifference,
  readExpected,
  type FixtureRun,
  type LossConfig,
} from '../models/bert-fixtures.js';
import { datasetOf, frozenOf, openTrainable, parametersOf, train } from './training-fixtures.js';

/** Relative to the value; for parameters, to the largest of the tensor. */
const TOLERANCE = 1e-4;

/** Losses of the runs in the fixtures (see make_bert.py). */
const RUNS: Record<string, LossConfig | null> = {
  none: null,
  tanh: { kind: 'tanh', granularity: 'feature-map', beta: 20 },
  'l0_1e-2': { kind: 'l0', granularity: 'feature-map', eps: 1e-2 },
  'element_1e-2': { kind: 'l0', granularity: 'element', eps: 1e-2 },
  accumulate: null,
  full: null,
};

function compare(t: ExecutionContext, result: TrainResult, model: PeftModel, expected: FixtureRun): void {
  t.is(result.log.length, expected.steps.length);
  for (const [index, right] of expected.steps.entries()) {
    const found = result.log[index] as TrainResult['log'][number];
    t.is(found.step, right.step + 1);
    for (const key of ['loss', 'taskLoss', 'densityLoss', 'gradNorm', 'lr', 'density'] as const) {
      const error = Math.abs(found[key] - right[key]);
      t.true(
        error <= TOLERANCE * Math.abs(right[key]),
        `step ${found.step}: ${key} is ${found[key]}, expected ${right[key]} (off by ${error / Math.abs(right[key])})`,
      );
    }
  }
  const parameters = parametersOf(model);
  for (const [key, values] of Object.entries(expected.final)) {
    const found = parameters.get(key.replace(/^base_model\.model\./, '')) ?? [];
    const error = maxDifference(found, values) / maxAbs(values);
    t.true(error <= TOLERANCE, `${key} is off by ${error} of its largest value after the last step`);
  }
}

for (const variant of VARIANTS) {
  for (const [name, config] of Object.entries(RUNS)) {
    onEachBackend(`${variant}, ${name}: ten steps`, async (t, backend) => {
      const { training, hiddenAct } = readExpected(variant);
      const model = await openTrainable(backend, variant, name === 'full' ? { method: 'full' } : 'adapter');
      const before = frozenOf(model);
      const level = backend.liveTensors();
      const accumulate = name === 'accumulate' ? 2 : 1;
      const levels: number[] = [];
      const result = await train(
        model,
        datasetOf(training.batches.slice(0, 10 * accumulate)),
        {
          learningRate: training.lr,
          eps: training.eps,
          weightDecay: training.weightDecay,
          maxGradNorm: training.maxGradNorm,
          warmup: training.warmupSteps,
          maxSteps: training.totalSteps,
          gradientAccumulationSteps: accumulate,
        },
        {
          auxiliaryLosses: auxiliaryLosses(config, training.alpha, hiddenAct),
          onStep: () => void levels.push(backend.liveTensors()),
        },
      );
      compare(t, result, model, training[name] as FixtureRun);
      // Frozen weights keep every bit.
      t.deepEqual(frozenOf(model), before);
      // Nothing piles up from step to step, and the optimizer leaves nothing behind.
      t.deepEqual(new Set(levels).size, 1);
      t.is(backend.liveTensors(), level);
    });
  }
}
