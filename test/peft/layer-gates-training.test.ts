// Gates in training: they close under the penalty, and resumed and recomputed runs repeat.
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { mlpBlocks } from '../../ts/nn/mlp-block.js';
import { gatePenalty } from '../../ts/peft/gate-penalty.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { checkpointMemory } from '../../ts/train/checkpoint-memory.js';
import { Trainer, type TrainerOptions } from '../../ts/train/trainer.js';
import { LORA, examplesFor, open } from './gated-models.js';

const trainer = (model: PeftModel, options: Partial<TrainerOptions> = {}): Trainer =>
  new Trainer({
    model,
    trainDataset: examplesFor('BERT', 16),
    auxiliaryLosses: [densityLoss({ alpha: 0.1 }, 'relu'), ...gatePenalty(model)],
    ...options,
    args: { maxSteps: 8, batchSize: 4, learningRate: 5e-3, lrScheduler: 'constant', weightDecay: 0.1, ...options.args },
  });
const GATED: PeftOptions = { ...LORA, loraDropout: 0.2, layerGates: { penalty: 1, rate: 10 } };

test('gates close under the penalty, at a rate of their own and without weight decay', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 2 });
  const model = getPeftModel(await open(backend, 'BERT'), GATED);
  const { log, evaluation } = await trainer(model, {
    evalDataset: examplesFor('BERT', 8),
    args: { maxSteps: 24 },
  }).train();
  t.is(log[0]?.auxiliary?.['gatePenalty'], 1);
  // The penalty outweighs the rest here, so that Adam takes a step of its whole rate, 0.05, each time.
  const theta = Object.values(model.layerGates?.theta ?? {});
  for (const value of theta) t.true(value < 0.05, `theta ${value}`);
  t.true(Math.abs((log[4]?.auxiliary?.['gatePenalty'] ?? 0) - 0.8) < 0.02);
  t.is(evaluation?.density, 0);
  t.deepEqual(
    evaluation?.layerDensity.map(({ skipped }) => skipped),
    [true, true],
  );
  // What is skipped at inference has no density in training either.
  t.is(log.at(-1)?.density, 0);
  const [first] = mlpBlocks(model.base);
  const other = getPeftModel(await open(backend, 'BERT'), { ...GATED, layerGates: { penalty: 0 } });
  await trainer(other, { args: { learningRate: 0 } }).train();
  t.deepEqual(Object.values(other.layerGates?.theta ?? {}), [1, 1], 'no step, no decay');
  t.true(first?.gate?.isClosed);
});

test('a resumed run with gates repeats the uninterrupted one bit for bit, recomputed layers too', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 2 });
  const thetaAfter = async (options: Partial<TrainerOptions>, resumes = false): Promise<unknown> => {
    const model = getPeftModel(await open(backend, 'BERT', { dropout: 0.1 }), GATED);
    await trainer(model, options).train({ resume: resumes });
    const values = [...model.trainableParameters()].map(([name, parameter]) => [name, parameter.toStored()]);
    model.base.dispose();
    return values;
  };
  const whole = await thetaAfter({});
  const checkpoints = checkpointMemory();
  const stop = new AbortController();
  await thetaAfter({
    checkpoints,
    signal: stop.signal,
    onStep: ({ step }) => {
      if (step === 3) stop.abort();
    },
  });
  t.deepEqual(await thetaAfter({ checkpoints }, true), whole);
  t.deepEqual(await thetaAfter({ args: { gradientCheckpointing: true } }), whole);
});
