// What a run promises besides its numbers: schedules, accumulation, clipping, evaluation, seeds, errors, memory.
import test from 'ava';
import type { Example } from '../../ts/data/batching.js';
import { DeftuneError } from '../../ts/error.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import type { MlpObservation } from '../../ts/nn/forward-context.js';
import { checkpointMemory } from '../../ts/train/checkpoint-memory.js';
import { evaluate, predict } from '../../ts/train/evaluate.js';
import { schedule, warmupSteps } from '../../ts/train/schedule.js';
import type { EvaluationLog } from '../../ts/train/trainer.js';
import { trainingArguments, type TrainingArguments } from '../../ts/train/training-arguments.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { maxAbs, maxDifference, readExpected } from '../models/bert-fixtures.js';
import { BATCH_SIZE, datasetOf, openTrainable, parametersOf, train } from './training-fixtures.js';

const LORA = { method: 'lora', r: 2, loraAlpha: 4, targetModules: ['query', 'value', 'output.dense'] };
const { training } = readExpected('relu');
/** 24 labelled sequences of 2 to 16 tokens. */
const data = datasetOf(training.batches.slice(0, 6));

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

onEachBackend('accumulation equals the large batch to 1e-6, also where micro-batches differ', async (t, backend) => {
  const run = async (examples: readonly Example[], batchSize: number, gradientAccumulationSteps: number) => {
    const model = await openTrainable(backend, 'relu', LORA);
    const before = parametersOf(model);
    // SGD with the rate 1: what a parameter changes by is its gradient.
    const args = { optimizer: 'sgd', learningRate: 1, lrScheduler: 'constant', maxGradNorm: 0, maxSteps: 1 };
    const { log } = await train(model, examples, { ...args, batchSize, gradientAccumulationSteps });
    const gradients = [...parametersOf(model)].flatMap(([name, values]) => {
      const old = before.get(name) as Float32Array;
      return Array.from(values, (value, index) => (old[index] as number) - value);
    });
    model.base.dispose();
    return { log, gradients };
  };
  for (const [examples, micro, steps] of [
    [data, 4, 2],
    [data.slice(0, 10), 4, 3],
    [data.slice(0, 7), 1, 7],
  ] as const) {
    const large = await run(examples, micro * steps, 1);
    const small = await run(examples, micro, steps);
    const [one, many] = [large.log[0], small.log[0]];
    if (!one || !many) return t.fail();
    t.is(many.tokens, one.tokens);
    for (const key of ['loss', 'gradNorm'] as const) {
      t.true(Math.abs(many[key] - one[key]) <= 1e-6 * one[key], `${key} ${many[key]} and ${one[key]}`);
    }
    const difference = maxDifference(small.gradients, large.gradients);
    t.true(difference <= 1e-6 * maxAbs(large.gradients), `off by ${difference} of ${maxAbs(large.gradients)}`);
  }
});

onEachBackend(
  "label smoothing is torch's, in training alone; a loss without classes refuses it",
  async (t, backend) => {
    const examples = data.slice(0, BATCH_SIZE);
    const model = await openTrainable(backend, 'relu', LORA);
    const { outputs } = await predict(model.base, examples);
    const smooth = 0.2;
    // torch.nn.functional.cross_entropy(..., label_smoothing): (1 - e) times the loss, e times the mean over the classes.
    const expected = outputs.map(({ logits }, index) => {
      const sum = Math.log(logits.reduce((total, logit) => total + Math.exp(logit), 0));
      const losses = Array.from(logits, (logit) => sum - logit);
      const label = examples[index]?.label as number;
      return (1 - smooth) * (losses[label] as number) + (smooth * losses.reduce((a, b) => a + b)) / losses.length;
    });
    const mean = expected.reduce((a, b) => a + b) / expected.length;
    const args = { maxSteps: 1, learningRate: 0, labelSmoothing: smooth };
    const { log, evaluation } = await train(model, examples, args, { evalDataset: examples });
    t.true(Math.abs((log[0]?.loss ?? 0) - mean) < 1e-5, `${log[0]?.loss} and ${mean}`);
    t.is(evaluation?.loss, (await evaluate(model.base, examples)).loss);
    t.notDeepEqual(log[0]?.loss, evaluation?.loss);
    const regression = await openTrainable(backend, 'silu', LORA);
    t.throws(() => train(regression, examples, args), {
      instanceOf: DeftuneError,
      message:
        /^labelSmoothing is 0.2, expected 0: the loss of SequenceClassification with 1 labels has no classes to smooth$/,
    });
  },
);

onEachBackend('clipping scales the gradient to its norm at most, and reports the norm before', async (t, backend) => {
  // AdamW's first step is nearly sign(gradient), so a second step tells clipped from not; the norms must not differ.
  const run = async (maxGradNorm: number) => {
    const model = await openTrainable(backend, 'relu', LORA);
    const args = { maxSteps: 2, learningRate: 1e-2, maxGradNorm, lrScheduler: 'constant', eps: 1 };
    const before = parametersOf(model);
    const { log } = await train(model, data, args);
    const after = parametersOf(model);
    model.base.dispose();
    const change = [...after].map(([name, values]) => maxDifference(values, before.get(name) ?? []));
    return { norms: log.map(({ gradNorm }) => gradNorm), change: Math.max(...change) };
  };
  const [free, high, low] = [await run(0), await run(1e6), await run(1e-3)];
  t.is(free.norms[0], low.norms[0]);
  t.deepEqual(free, high);
  t.true((free.norms[0] as number) > 0.1);
  // With eps 1 the step is close to proportional to the gradient: it shrinks as the norm does.
  const ratio = low.change / free.change;
  t.true(ratio < 5e-2, `the step shrank to ${ratio}`);
});

onEachBackend('evaluation each N steps, at each epoch and at the end', async (t, backend) => {
  const seen = async (args: Partial<TrainingArguments>): Promise<number[]> => {
    const model = await openTrainable(backend, 'relu', LORA);
    const logs: EvaluationLog[] = [];
    const result = await train(model, data, args, {
      evalDataset: data.slice(0, 6),
      onEvaluate: (entry) => void logs.push(entry),
    });
    t.deepEqual(result.evaluation, logs.at(-1));
    for (const { eval: isEvaluation, examples, loss, density, metricName, metric } of logs) {
      t.true(isEvaluation);
      t.is(examples, 6);
      t.is(metricName, 'accuracy');
      t.true(loss > 0 && density > 0 && density < 1 && metric >= 0 && metric <= 1);
    }
    // What the last evaluation saw is what evaluating the model afterwards sees.
    const again = await evaluate(model.base, data.slice(0, 6), { batchSize: BATCH_SIZE });
    t.deepEqual([again.loss], [result.evaluation?.loss]);
    model.base.dispose();
    return logs.map(({ step }) => step);
  };
  t.deepEqual(await seen({ maxSteps: 7 }), [7]);
  t.deepEqual(await seen({ maxSteps: 7, evalSteps: 3 }), [3, 6, 7]);
  t.deepEqual(await seen({ maxSteps: 6, evalSteps: 3 }), [3, 6]);
  t.deepEqual(await seen({ maxSteps: 10, evalSteps: 0.25 }), [3, 6, 9, 10]);
  // 24 examples in batches of 4: six steps an epoch.
  t.deepEqual(await seen({ epochs: 2, evalEpochs: true }), [6, 12]);
  t.deepEqual(await seen({ epochs: 1.5, evalEpochs: true, gradientAccumulationSteps: 2 }), [3, 5]);
  t.is(backend.liveTensors(), 0);
});

onEachBackend('an auxiliary loss may rank the evaluations, and rank the best so far anew', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  // The second evaluation is liked the least until the last one has come.
  let isLast = false;
  const metrics: number[] = [];
  const ranking: AuxiliaryLoss = {
    name: 'ranking',
    weight: 0,
    compute: ({ mlps }) => (mlps[0] as MlpObservation).elementMean,
    onEvaluate: ({ loss }) => {
      metrics.push(loss);
      isLast = metrics.length === 3;
    },
    score: ({ loss }) => (isLast ? -1 : 1) * loss,
  };
  const result = await train(
    model,
    data,
    { maxSteps: 6, evalSteps: 2, learningRate: 1e-2, loadBestModelAtEnd: true },
    { evalDataset: data.slice(0, 6), auxiliaryLosses: [ranking], checkpoints: checkpointMemory() },
  );
  const [first = 0, , third = 0] = metrics;
  const expected = third < first ? 6 : 2;
  t.is(result.best?.step, expected);
  t.is(result.evaluation?.loss, metrics[expected / 2 - 1]);
  model.base.dispose();
});

onEachBackend('a run without evaluation data has none', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  t.is((await train(model, data, { maxSteps: 1 })).evaluation, undefined);
});

onEachBackend('evaluation neither trains nor depends on the batch size', async (t, backend) => {
  const model = await openTrainable(backend, 'gelu_new', 'adapter');
  const before = parametersOf(model);
  const [one, many] = [
    await evaluate(model.base, data, { batchSize: 1 }),
    await evaluate(model.base, data, { batchSize: 24 }),
  ];
  t.true(Math.abs(one.loss - many.loss) <= 1e-6 * many.loss, `${one.loss} and ${many.loss}`);
  t.is(one.metric, many.metric);
  t.deepEqual(parametersOf(model), before);
});

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

onEachBackend('the warnings of an evaluation: collapsed, and no better than the majority', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  const { classifier } = model.base as unknown as { classifier: { bias: { handle: number } } };
  const shift = (by: number): number => backend.writeF32(classifier.bias.handle, Float32Array.of(by, 0));
  const labelled = (label: (index: number) => number): Example[] =>
    data.map((example, index) => ({ ...example, label: label(index) }));

  shift(50);
  const oneThird = labelled((index) => (index % 3 === 0 ? 1 : 0));
  const collapsed = await evaluate(model.base, oneThird);
  t.is(collapsed.metric, 16 / 24);
  t.deepEqual(collapsed.warnings, [
    'the predictions have collapsed to one class; where there is a density loss, try a smaller alpha (its weight)',
  ]);
  const result = await train(model, data, { maxSteps: 1, learningRate: 0 }, { evalDataset: oneThird });
  t.deepEqual(result.evaluation?.warnings, collapsed.warnings);

  // A bias that makes half of the answers 0 and half 1.
  const preferences = async (): Promise<number[]> =>
    (await predict(model.base, data)).outputs.map(({ logits }) => (logits[1] as number) - (logits[0] as number));
  shift(0);
  const sorted = (await preferences()).sort((a, b) => a - b);
  shift(((sorted[11] as number) + (sorted[12] as number)) / 2);
  const answers = (await preferences()).map((preference) => (preference > 0 ? 1 : 0));
  t.is(answers.filter((answer) => answer === 1).length, 12);
  const right = await evaluate(
    model.base,
    labelled((index) => answers[index] as number),
  );
  t.is(right.metric, 1);
  t.deepEqual(right.warnings, []);
  const wrong = await evaluate(
    model.base,
    labelled((index) => 1 - (answers[index] as number)),
  );
  t.is(wrong.metric, 0);
  t.deepEqual(wrong.warnings, [
    "the accuracy is no better than the majority class's share (0.00 % against 50.00 %); try more steps or, where there is a density loss, a smaller alpha",
  ]);
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
