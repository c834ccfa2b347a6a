// One thread and several give identical bits: operations, gradients, and whole training runs.
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { AutoModelForSequenceClassification, AutoTokenizer, getPeftModel, loadDataset } from '../../ts/index.js';
import { densityLoss, type DensityLossOptions } from '../../ts/density/density-loss.js';
import { gradients, openAdapted, readExpected } from '../models/bert-fixtures.js';
import { evaluateCase } from '../ops/evaluate-case.js';
import { GRADIENT_CHECKS } from '../ops/gradient-checks.js';
import { datasetOf, openTrainable, parametersOf, train } from '../train/training-fixtures.js';

const THREADS = [2, 3, 4] as const;

const open = (threads: number): Promise<Backend> => createBackend({ backend: 'native', threads });

/** Whether two lists have the same bits: -0 is not 0, and a NaN equals itself. */
function sameBits(a: Float32Array | undefined, b: Float32Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer =>
    Buffer.from(buffer, byteOffset, byteLength);
  return a !== undefined && bytes(a).equals(bytes(b));
}

test('the pool has the threads that were asked for', async (t) => {
  for (const threads of [1, ...THREADS]) t.is((await open(threads)).threads(), threads);
});

test('every operation, forward and backward', async (t) => {
  const single = await open(1);
  const others = await Promise.all(THREADS.map(open));
  for (const [name, cases] of Object.entries(GRADIENT_CHECKS)) {
    for (const example of cases) {
      const one = evaluateCase(single, example);
      for (const backend of others) {
        const several = evaluateCase(backend, example);
        t.deepEqual([...several.keys()], [...one.keys()]);
        for (const [what, values] of one) {
          t.true(sameBits(several.get(what), values), `${name}, ${example.title}: ${what}`);
        }
      }
    }
  }
});

test('forward and backward pass of a model', async (t) => {
  for (const variant of ['relu', 'gelu'] as const) {
    const { batch } = readExpected(variant);
    const losses = [densityLoss({ alpha: 0.5 }, variant)];
    const run = async (threads: number) =>
      gradients((await openAdapted(await open(threads), variant)).base, batch, losses);
    const one = await run(1);
    for (const threads of THREADS) {
      const several = await run(threads);
      t.deepEqual(several.outcome, one.outcome);
      for (const [name, gradient] of one.grads) {
        t.true(sameBits(several.grads.get(name), gradient), name);
      }
    }
  }
});

const RUNS: readonly { title: string; variant: 'relu' | 'gelu'; method: string; density?: DensityLossOptions }[] = [
  { title: 'LoRA with dropout and the density loss', variant: 'relu', method: 'lora', density: { alpha: 0.5 } },
  { title: 'LoRA, element form', variant: 'gelu', method: 'lora', density: { form: 'element', eps: 1e-2 } },
  { title: 'full fine-tuning', variant: 'relu', method: 'full' },
];

for (const { title, variant, method, density } of RUNS) {
  test(`a training run: ${title}`, async (t) => {
    const { training } = readExpected(variant);
    const data = datasetOf(training.batches);
    const run = async (threads: number) => {
      const options = method === 'lora' ? { r: 4, targetModules: 'all-linear', loraDropout: 0.2 } : {};
      const model = await openTrainable(await open(threads), variant, { method, ...options });
      const { log, evaluation } = await train(
        model,
        data,
        // 14 sequences of up to 16 tokens: several blocks of rows.
        { maxSteps: 6, batchSize: 14, learningRate: 5e-3, shuffle: true, gradientAccumulationSteps: 2 },
        {
          evalDataset: data.slice(0, 30),
          auxiliaryLosses: density ? [densityLoss(density, variant)] : [],
        },
      );
      const steps = log.map(({ seconds, ...rest }) => (seconds >= 0 ? rest : undefined));
      return { steps, evaluation, parameters: parametersOf(model) };
    };
    const one = await run(1);
    for (const threads of THREADS) {
      const several = await run(threads);
      t.deepEqual(several.steps, one.steps);
      t.deepEqual(several.evaluation, one.evaluation);
      for (const [name, values] of one.parameters) {
        t.true(sameBits(several.parameters.get(name), values), name);
      }
    }
  });
}

test('a training run of a model of real size', async (t) => {
  const directory = 'assets/bert-mini-relu';
  const tokenizer = await AutoTokenizer.fromPretrained(directory);
  const run = async (threads: number) => {
    const options = { backend: await open(threads), numLabels: 2 };
    const base = await AutoModelForSequenceClassification.fromPretrained(directory, options);
    const model = getPeftModel(base, { method: 'lora', loraDropout: 0.1 });
    const data = await loadDataset('assets/sst2-sample/train.tsv', { tokenizer, model: base });
    const args = { maxSteps: 3, batchSize: 32, learningRate: 5e-3, shuffle: true };
    const { log } = await train(model, data, args, { auxiliaryLosses: [densityLoss({}, 'relu')] });
    const parameters = parametersOf(model);
    base.dispose();
    return { losses: log.map(({ loss, gradNorm }) => [loss, gradNorm]), parameters };
  };
  const one = await run(1);
  const two = await run(2);
  t.deepEqual(two.losses, one.losses);
  for (const [name, values] of one.parameters) t.true(sameBits(two.parameters.get(name), values), name);
});
