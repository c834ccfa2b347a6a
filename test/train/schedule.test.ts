// Schedules, and the rates of a run that follows one.
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { schedule, warmupSteps } from '../../ts/train/schedule.js';
import type { TrainingArguments } from '../../ts/train/training-arguments.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { LORA, data } from './lora-run.js';
import { openTrainable, train } from './training-fixtures.js';

test('schedules have the factors of transformers', (t) => {
  const factors = (name: string, warmup: number, total: number): number[] =>
    Array.from({ length: total }, (_, step) => schedule(name)(step, { warmup, total }));
  t.deepEqual(factors('linear', 2, 6), [0, 0.5, 1, 0.75, 0.5, 0.25]);
  t.deepEqual(factors('linear', 0, 4), [1, 0.75, 0.5, 0.25]);
  t.deepEqual(factors('constant', 2, 4), [0, 0.5, 1, 1]);
  t.deepEqual(factors('constant', 0, 2), [1, 1]);
  // A warm-up as long as the run, or longer, never divides by zero.
  t.deepEqual(factors('linear', 3, 3), [0, 1 / 3, 2 / 3]);
  t.deepEqual(factors('linear', 8, 2), [0, 1 / 8]);
  t.is(warmupSteps(0.1, 25), 3);
  t.is(warmupSteps(0, 25), 0);
  t.is(warmupSteps(7, 25), 7);
  t.throws(() => schedule('step'), {
    instanceOf: DeftuneError,
    message: /scheduler is .?step.?, expected one of linear, constant, /,
  });
});

onEachBackend('rates of a run follow its schedule', async (t, backend) => {
  const rates = async (args: Partial<TrainingArguments>): Promise<number[]> => {
    const model = await openTrainable(backend, 'relu', LORA);
    const { log } = await train(model, data, { learningRate: 1, maxSteps: 4, maxGradNorm: 1e-6, ...args });
    model.base.dispose();
    return log.map(({ lr }) => lr);
  };
  t.deepEqual(await rates({ lrScheduler: 'linear', warmup: 2 }), [0, 0.5, 1, 0.5]);
  t.deepEqual(await rates({ lrScheduler: 'linear', warmup: 0.5 }), [0, 0.5, 1, 0.5]);
  t.deepEqual(await rates({ lrScheduler: 'constant', warmup: 1 }), [0, 1, 1, 1]);
  t.deepEqual(await rates({ lrScheduler: 'constant' }), [1, 1, 1, 1]);
  t.is(backend.liveTensors(), 0);
});
