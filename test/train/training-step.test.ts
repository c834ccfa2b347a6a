// What a step makes of its gradients: accumulation, label smoothing, clipping.
import type { Example } from '../../ts/data/batching.js';
import { DeftuneError } from '../../ts/error.js';
import { evaluate, predict } from '../../ts/train/evaluate.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { maxAbs, maxDifference } from '../models/bert-fixtures.js';
import { LORA, data } from './lora-run.js';
import { BATCH_SIZE, openTrainable, parametersOf, train } from './training-fixtures.js';

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
