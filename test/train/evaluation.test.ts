// When a run evaluates, what an evaluation says, and what it leaves alone.
import type { Example } from '../../ts/data/batching.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import type { MlpObservation } from '../../ts/nn/forward-context.js';
import { checkpointMemory } from '../../ts/train/checkpoint-memory.js';
import { evaluate, predict } from '../../ts/train/evaluate.js';
import type { EvaluationLog } from '../../ts/train/trainer.js';
import type { TrainingArguments } from '../../ts/train/training-arguments.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { LORA, data } from './lora-run.js';
import { BATCH_SIZE, openTrainable, parametersOf, train } from './training-fixtures.js';

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
