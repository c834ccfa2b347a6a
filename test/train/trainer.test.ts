// What a run promises besides its numbers: seeds, orders, errors, memory, which parameters change.
import test from 'ava';
import type { Example } from '../../ts/data/batching.js';
import { DeftuneError } from '../../ts/error.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { trainingArguments, type TrainingArguments } from '../../ts/train/training-arguments.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { maxDifference } from '../models/bert-fixtures.js';
import { LORA, data } from './lora-run.js';
import { BATCH_SIZE, openTrainable, parametersOf, train } from './training-fixtures.js';

onEachBackend(
  'a seed gives the same run again, another seed another; dropout and order depend on it',
  async (t, backend) => {
    const losses = async (seed: number, args: Partial<TrainingArguments> = {}): Promise<number[]> => {
      const model = await openTrainable(backend, 'relu', { ...LORA, loraDropout: 0.3, seed: 5 });
      const { log } = await train(model, data, { maxSteps: 8, seed, learningRate: 1e-2, ...args });
      model.base.dispose();
      return log.map(({ loss }) => loss);
    };
    const shuffled = { shuffle: true };
    t.deepEqual(await losses(3, shuffled), await losses(3, shuffled));
    t.notDeepEqual(await losses(3, shuffled), await losses(4, shuffled));
    // With the order fixed, only dropout tells the seeds apart.
    t.notDeepEqual(await losses(3), await losses(4));
    // Two seeds of the adapter's own weights.
    const a = parametersOf(await openTrainable(backend, 'relu', { ...LORA, seed: 1 }));
    t.deepEqual(parametersOf(await openTrainable(backend, 'relu', { ...LORA, seed: 1 })), a);
    t.notDeepEqual(parametersOf(await openTrainable(backend, 'relu', { ...LORA, seed: 2 })), a);
  },
);

onEachBackend('each epoch has an order of its own and shows every example once', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  // Lengths by batch identify what a step saw.
  const distinct = data.map((example, index): Example => ({
    ...example,
    inputIds: new Array(index + 1 > 20 ? 20 : index + 1).fill(5),
    tokenTypeIds: undefined,
  }));
  const { log } = await train(model, distinct, { epochs: 2, shuffle: true, learningRate: 0 });
  const tokens = log.map((entry) => entry.tokens);
  const perEpoch = distinct.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
  t.is(sum(tokens.slice(0, 6)), perEpoch);
  t.is(sum(tokens.slice(6)), perEpoch);
  t.notDeepEqual(tokens.slice(0, 6), tokens.slice(6));
});

onEachBackend('a loss that is not a number stops the run in one line naming the step', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  const { classifier } = model.base as unknown as { classifier: { bias: { handle: number } } };
  const steps: number[] = [];
  const error = await t.throwsAsync(
    train(
      model,
      data,
      { maxSteps: 5 },
      {
        onStep: ({ step }) => {
          steps.push(step);
          if (step === 2) backend.writeF32(classifier.bias.handle, Float32Array.of(Number.NaN, 0));
        },
      },
    ),
    { instanceOf: DeftuneError },
  );
  t.is(
    error?.message,
    'step 3: the loss is NaN, expected a finite number; the first tensor that went wrong is the parameter classifier.bias; ' +
      'try a smaller learning rate (lr)',
  );
  t.deepEqual(steps, [1, 2]);
  // The optimizer's moments went with the run.
  model.base.dispose();
  t.is(backend.liveTensors(), 0);
});

onEachBackend('memory stays level over the steps of a run', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  const same = data.slice(0, BATCH_SIZE);
  const bytes: number[] = [];
  const tensors: number[] = [];
  await train(
    model,
    same,
    { maxSteps: 40, learningRate: 1e-3 },
    {
      evalDataset: same,
      auxiliaryLosses: [densityLoss({}, 'relu')],
      onStep: () => {
        bytes.push(backend.liveBytes());
        tensors.push(backend.liveTensors());
      },
    },
  );
  // The first step packs the frozen weights.
  t.is(new Set(bytes.slice(1)).size, 1, bytes.join(', '));
  t.is(new Set(tensors).size, 1, tensors.join(', '));
  model.base.dispose();
  t.is(backend.liveTensors(), 0);
  t.is(backend.liveBytes(), 0);
});

onEachBackend('head only: nothing but the head changes', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', { method: 'head' });
  const all = (): Map<string, Float32Array> =>
    new Map([...model.base.namedParameters()].map(([name, parameter]) => [name, parameter.toFloats()]));
  const before = all();
  await train(model, data, { maxSteps: 3, learningRate: 1e-2, weightDecay: 0.1 });
  const changed = [...all()].filter(([name, values]) => maxDifference(values, before.get(name) ?? []) > 0);
  t.deepEqual(changed.map(([name]) => name).sort(), ['classifier.bias', 'classifier.weight']);
});

onEachBackend('full: every parameter changes but those rows of embeddings that no token used', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', { method: 'full' });
  const before = parametersOf(model);
  await train(model, data, { maxSteps: 2, learningRate: 1e-3, lrScheduler: 'constant' });
  const unchanged = [...parametersOf(model)].filter(
    ([name, values]) => maxDifference(values, before.get(name) ?? []) === 0,
  );
  t.deepEqual(
    unchanged.map(([name]) => name),
    [],
  );
  const words = 'bert.embeddings.word_embeddings.weight';
  const used = new Set(data.slice(0, 2 * BATCH_SIZE).flatMap(({ inputIds }) => Array.from(inputIds)));
  const [old, now] = [before.get(words) ?? [], parametersOf(model).get(words) ?? []];
  for (let id = 0; id < 57; id++) {
    const row = (values: ArrayLike<number>): number[] => Array.from(values).slice(id * 36, (id + 1) * 36);
    t.is(maxDifference(row(now), row(old)) > 0, used.has(id), `row ${id}`);
  }
});

test('training arguments out of range are refused by name', (t) => {
  const refused = (args: object, message: RegExp): void => {
    t.throws(() => trainingArguments(args), { instanceOf: DeftuneError, message });
  };
  refused({ learningRate: -1 }, /^training arguments: learningRate is -1, .*expected/);
  refused({ learningRate: Number.NaN }, /^training arguments: learningRate is NaN, .*expected/);
  refused({ batchSize: 0 }, /^training arguments: batchSize is 0, .*expected/);
  refused({ batchSize: 1.5 }, /^training arguments: batchSize is 1.5, .*expected/);
  refused({ warmup: -2 }, /^training arguments: warmup is -2, .*expected/);
  refused({ epochs: 0 }, /^training arguments: epochs is 0, .*expected/);
  refused({ lrScheduler: 'step' }, /scheduler is .?step.?, expected one of linear, constant, /);
  refused({ learning_rate: 1 }, /learning_rate/);
});

onEachBackend('a data set that cannot be trained on is refused before the first step', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  t.throws(() => train(model, [], {}), { instanceOf: DeftuneError, message: /^trainDataset has no examples/ });
  const unlabelled = [...data.slice(0, 2), { inputIds: [5] }];
  t.throws(() => train(model, unlabelled, {}), { message: /^trainDataset: example 2 has no label$/ });
});
