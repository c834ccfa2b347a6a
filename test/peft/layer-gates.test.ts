// Gates on the MLPs: an open one changes no bit, a closed one makes its MLP needless, and files, merging and resuming keep what they say.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import { noGrad } from '../../ts/autograd/node.js';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import type { Example } from '../../ts/data/batching.js';
import { Rng } from '../../ts/data/rng.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { DeftuneError } from '../../ts/error.js';
import { serializeSafetensors } from '../../ts/io/safetensors.js';
import { AutoModel, type FromPretrainedOptions } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { mlpBlocks } from '../../ts/nn/mlp-block.js';
import { gatePenalty } from '../../ts/peft/gate-penalty.js';
import { applyAdapter, readAdapter, saveAdapter, skippedMlps } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { add } from '../../ts/ops/index.js';
import { scope } from '../../ts/tensor/scope.js';
import { checkpointMemory } from '../../ts/train/checkpoint-memory.js';
import { predict } from '../../ts/train/evaluate.js';
import { Trainer, type TrainerOptions } from '../../ts/train/trainer.js';
import { onEachBackend } from '../backend/on-each-backend.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const python = process.env['DEFTUNE_PYTHON'];

const ids = (rng: Rng, length: number): number[] =>
  Array.from({ length: length - rng.nextBelow(4) }, () => 3 + rng.nextBelow(30));

/** Every family: its folder among the fixtures, its head, an example. */
const FAMILIES: Readonly<Record<string, [folder: string, head: string, example: (rng: Rng) => Example]>> = {
  BERT: ['bert/relu/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 12), label: rng.nextBelow(2) })],
  RoBERTa: ['roberta/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 12), label: rng.nextBelow(2) })],
  'GPT-2': ['gpt2/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 12), label: rng.nextBelow(2) })],
  T5: ['t5/relu/model', 'Seq2SeqLM', (rng) => ({ inputIds: ids(rng, 12), labelIds: ids(rng, 8) })],
  'T5 v1.1': ['t5/gated/model', 'Seq2SeqLM', (rng) => ({ inputIds: ids(rng, 12), labelIds: ids(rng, 8) })],
  ViT: [
    'vit/model',
    'ImageClassification',
    (rng) => ({
      inputIds: [],
      pixelValues: Float32Array.from({ length: 2 * 12 * 8 }, () => rng.nextFloat()),
      label: rng.nextBelow(2),
    }),
  ],
};
const LORA: PeftOptions = { method: 'lora', r: 2, targetModules: 'all-linear', initLoraWeights: false };

function directoryOf(family: string): string {
  return join(fixtures, (FAMILIES[family] as (typeof FAMILIES)[string])[0]);
}

function open(backend: Backend, family: string, options: FromPretrainedOptions = {}): Promise<Model> {
  const [, head] = FAMILIES[family] as (typeof FAMILIES)[string];
  return AutoModel.fromPretrained(directoryOf(family), { backend, head, dropout: 0, ...options });
}

function examplesFor(family: string, count = 6): Example[] {
  const rng = new Rng(11);
  return Array.from({ length: count }, () => (FAMILIES[family] as (typeof FAMILIES)[string])[2](rng));
}

/** Losses and logits of the examples. */
async function outcome(model: Model, family: string): Promise<Float64Array> {
  const { outputs } = await predict(model, examplesFor(family));
  return Float64Array.from(outputs.flatMap(({ loss, logits }) => [loss, ...logits]));
}

/** Their loss with every MLP run, as in training. */
function trainingLoss(model: Model, family: string): number {
  const { backend, head, info } = model;
  const batch = head.collate(examplesFor(family), { info });
  return noGrad(() => scope(backend, () => model.taskLoss(batch, new ForwardContext(true)).item()));
}

/** Sets gates by layer number; those that are not said stay open. */
function setGates({ base }: PeftModel, ...theta: number[]): void {
  for (const [index, { gate }] of mlpBlocks(base).entries()) {
    gate?.theta.writeStored(Float32Array.of(theta[index] ?? 1));
  }
}

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'deftune-gates-'));
  t.teardown(() => {
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

function near(t: ExecutionContext, found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  t.is(found.length, expected.length);
  for (let index = 0; index < expected.length; index++) {
    const [mine, theirs] = [found[index] as number, expected[index] as number];
    t.true(Math.abs(mine - theirs) <= tolerance * Math.max(1, Math.abs(theirs)), `${mine}, expected ${theirs}`);
  }
}

for (const family of Object.keys(FAMILIES)) {
  onEachBackend(`${family}: an open gate changes no bit, a closed one skips its MLP`, async (t, backend) => {
    const plain = getPeftModel(await open(backend, family), LORA);
    const expected = await outcome(plain.base, family);
    const loss = trainingLoss(plain.base, family);
    plain.base.dispose();
    const model = getPeftModel(await open(backend, family), { ...LORA, layerGates: true });
    t.deepEqual(await outcome(model.base, family), expected);
    t.is(trainingLoss(model.base, family), loss);
    // A gate of 0, with its MLP run and with it skipped.
    const names = mlpBlocks(model.base).map(({ name }) => name);
    for (const layer of [0, names.length - 1]) {
      setGates(model, ...names.map((_, index) => (index === layer ? 0 : 1)));
      const [mean] = [trainingLoss(model.base, family)];
      const skipping = await predict(model.base, examplesFor(family));
      const weight = skipping.outputs.reduce((sum, output) => sum + output.weight, 0);
      const skipped = skipping.outputs.reduce((sum, output) => sum + output.loss * output.weight, 0) / weight;
      t.true(Math.abs(skipped - mean) <= 1e-6 * (1 + mean), `${skipped}, expected ${mean}`);
      t.not(skipped, loss);
      t.deepEqual(
        skipping.layerDensity.map((found) => (found.skipped ? found.name : '')),
        names.map((name, index) => (index === layer ? name : '')),
      );
      t.is(skipping.layerDensity[layer]?.density, 0);
    }
    model.base.dispose();
    t.is(backend.liveTensors(), 0);
  });

  onEachBackend(
    `${family}: an adapter's files bring the gates back, and the MLPs that they skip are not read`,
    async (t, backend) => {
      const directory = folder(t);
      const model = getPeftModel(await open(backend, family), { ...LORA, layerGates: { skipThreshold: 0.1 } });
      setGates(model, 0.08, 0.7);
      saveAdapter(model, directory, directoryOf(family));
      const expected = await outcome(model.base, family);
      const all = backend.liveBytes();
      const { layerGates } = model;
      model.base.dispose();
      t.is(layerGates?.skipThreshold, 0.1);
      const adapter = readAdapter(directory);
      const [first = ''] = Object.keys(layerGates?.theta ?? {});
      t.deepEqual(skippedMlps(adapter), [first]);
      const again = applyAdapter(await open(backend, family), adapter);
      t.deepEqual(again.layerGates, layerGates);
      t.deepEqual(await outcome(again.base, family), expected);
      again.base.dispose();
      const lean = applyAdapter(await open(backend, family, { skipMlps: skippedMlps(adapter) }), adapter);
      t.deepEqual(await outcome(lean.base, family), expected);
      t.true(backend.liveBytes() < all, `${backend.liveBytes()} bytes, ${all} with every MLP`);
      t.throws(() => lean.mergeAndUnload(), { instanceOf: DeftuneError, message: /was left out/ });
      lean.base.dispose();
      t.is(backend.liveTensors(), 0);
    },
  );

  onEachBackend(`${family}: merged gates are factors of the down-projections`, async (t, backend) => {
    const model = getPeftModel(await open(backend, family), { ...LORA, layerGates: true });
    setGates(model, 0.6, 0.02);
    const expected = await outcome(model.base, family);
    const merged = model.mergeAndUnload();
    t.false([...merged.namedParameters()].some(([name]) => name.includes('theta')));
    near(t, await outcome(merged, family), expected, 2e-5);
    merged.dispose();
    t.is(backend.liveTensors(), 0);
  });
}

for (const family of Object.keys(FAMILIES)) {
  test(`${family}: gradients of the gates are those of finite differences`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const model = getPeftModel(await open(backend, family), { ...LORA, layerGates: true });
    const { base } = model;
    const gates = mlpBlocks(base).map(({ gate }) => gate?.theta);
    const start = gates.map((_, index) => 0.9 - 0.25 * index);
    const density = densityLoss({ alpha: 0.3, loss: 'l0', eps: 0.1 }, base.info.activation);
    const batch = base.head.collate(examplesFor(family), { info: base.info });
    const [penalty] = gatePenalty(model);
    const run = <T>(body: (loss: ReturnType<typeof base.taskLoss>) => T): T =>
      scope(backend, () => {
        const context = new ForwardContext(true);
        density.prepare?.(context);
        const task = base.taskLoss(batch, context);
        const parts = [task, density.compute(context), penalty?.compute(context) ?? task];
        return body(parts.reduce((sum, part) => add(sum, part)));
      });
    setGates(model, ...start);
    const found = run((loss) => {
      const gradients = backward(loss);
      return gates.map((theta) => (theta ? (backend.readF32(gradients.get(theta) ?? 0)[0] ?? 0) : 0));
    });
    // Small, for ReLU has kinks.
    const step = 1e-3;
    for (const index of gates.keys()) {
      const at = (shift: number): number => {
        setGates(model, ...start.map((value, layer) => value + (layer === index ? shift : 0)));
        return noGrad(() => run((loss) => loss.item()));
      };
      const expected = (at(step) - at(-step)) / (2 * step);
      const wrong = Math.abs((found[index] ?? 0) - expected);
      t.true(wrong <= 5e-3 * Math.max(0.1, Math.abs(expected)), `gate ${index}: ${found[index]}, expected ${expected}`);
    }
    base.dispose();
  });
}

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

test('the density term of an MLP is weighed by its gate', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const model = getPeftModel(await open(backend, 'BERT'), { ...LORA, layerGates: true });
  const batch = model.base.head.collate(examplesFor('BERT'), { info: model.base.info });
  for (const form of ['feature-map', 'element'] as const) {
    const term = (layerWeights?: number[]): number => {
      const loss = densityLoss({ loss: 'l0', eps: 0.1, form, layerWeights }, 'relu');
      const context = new ForwardContext(true);
      loss.prepare?.(context);
      model.base.taskLoss(batch, context);
      return loss.compute(context).item();
    };
    setGates(model, 1, 1);
    const last = term([0, 1]);
    // The last layer's gate changes no activations.
    setGates(model, 1, 0.5);
    t.true(Math.abs(term([0, 1]) - last / 2) <= 1e-6 * last, form);
    t.true(Math.abs(term() - (term([1, 0]) + last / 2)) <= 1e-6 * last, form);
  }
});

test('gates belong to their adapter', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const base = await open(backend, 'BERT');
  const alone = await outcome(base, 'BERT');
  const model = getPeftModel(base, { ...LORA, layerGates: true });
  setGates(model, 0, 0.4);
  const gated = await outcome(base, 'BERT');
  model.addAdapter('second', { method: 'ia3' });
  t.is(model.layerGates, undefined);
  t.deepEqual(await outcome(base, 'BERT'), alone);
  model.setAdapter('default');
  t.deepEqual(Object.values(model.layerGates?.theta ?? {}), [0, Math.fround(0.4)]);
  t.deepEqual(await outcome(base, 'BERT'), gated);
  model.deleteAdapter('default');
  t.deepEqual(await outcome(base, 'BERT'), alone);
});

test('settings and files that do not fit are refused in one line', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const base = await open(backend, 'BERT');
  const live = backend.liveTensors();
  const refused = (layerGates: PeftOptions['layerGates'], message: RegExp): void => {
    t.throws(() => getPeftModel(base, { ...LORA, layerGates }), { instanceOf: DeftuneError, message });
  };
  refused({ skipThreshold: 2 }, /^layerGates: skipThreshold is 2, /);
  refused({ penalty: -1 }, /^layerGates: penalty is -1, /);
  refused({ rate: 0 }, /^layerGates: rate is 0, /);
  const directory = folder(t);
  const model = getPeftModel(base, { ...LORA, layerGates: true });
  saveAdapter(model, directory, directoryOf('BERT'));
  model.deleteAdapter('default');
  const path = join(directory, 'deftune.json');
  const stored = JSON.parse(readFileSync(path, 'utf8')) as { layerGates: Record<string, unknown> };
  const changed = (changes: Record<string, unknown>): void => {
    writeFileSync(path, JSON.stringify({ ...stored, layerGates: { ...stored.layerGates, ...changes } }));
  };
  changed({ skipThreshold: 'x' });
  t.throws(() => readAdapter(directory), {
    instanceOf: DeftuneError,
    message: /deftune\.json: layerGates: skipThreshold is "x"/,
  });
  changed({ theta: { 'encoder.layer.0': null } });
  t.throws(() => readAdapter(directory), { instanceOf: DeftuneError, message: /theta\.encoder\.layer\.0 is null/ });
  for (const [theta, message] of [
    [{ 'encoder.layer.0': 1 }, /has no gate for encoder\.layer\.1, expected one each for encoder\.layer\.0, /],
    [{ 'encoder.layer.0': 1, 'encoder.layer.1': 1, x: 1 }, /has a gate for "x"/],
  ] as const) {
    changed({ theta });
    t.throws(() => applyAdapter(base, readAdapter(directory)), { instanceOf: DeftuneError, message });
  }
  t.is(backend.liveTensors(), live, 'the model is as it was');
  await t.throwsAsync(open(backend, 'BERT', { skipMlps: ['encoder.layer.7'] }), {
    instanceOf: DeftuneError,
    message: /^skipMlps has "encoder\.layer\.7", expected some of encoder\.layer\.0, encoder\.layer\.1$/,
  });
  t.is(backend.liveTensors(), live);
});

test('DoRA and full fine-tuning keep their gates in files as well', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  for (const options of [{ ...LORA, useDora: true }, { method: 'full' }, { method: 'bitfit' }]) {
    const directory = folder(t);
    const model = getPeftModel(await open(backend, 'BERT'), { ...options, layerGates: true });
    setGates(model, 0, 0.5);
    saveAdapter(model, directory, directoryOf('BERT'));
    const expected = await outcome(model.base, 'BERT');
    const adapter = readAdapter(directory);
    t.false([...adapter.tensors.keys()].some((key) => key.includes('theta')));
    const again = applyAdapter(await open(backend, 'BERT', { skipMlps: skippedMlps(adapter) }), adapter);
    t.deepEqual(await outcome(again.base, 'BERT'), expected, options.method);
  }
});

if (python === undefined) {
  test.skip('transformers gives the logits of a merged model with gates [DEFTUNE_PYTHON is not set]', () => undefined);
} else {
  test('transformers gives the logits of a merged model with gates', async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const model = getPeftModel(await open(backend, 'BERT'), { ...LORA, layerGates: true });
    setGates(model, 0.5, 0);
    const inputIds = [[5, 9, 2, 30], [7], [11, 3, 40, 8, 8, 21, 1]];
    const { outputs } = await predict(
      model.base,
      inputIds.map((row) => ({ inputIds: row })),
    );
    const directory = folder(t);
    const merged = model.mergeAndUnload();
    writeFileSync(join(directory, 'config.json'), readFileSync(join(directoryOf('BERT'), 'config.json')));
    const tensors = [...merged.namedParameters()].map(
      ([name, parameter]) =>
        [name, { dtype: 'F32' as const, shape: [...parameter.storedShape], data: parameter.toStored() }] as const,
    );
    writeFileSync(join(directory, 'model.safetensors'), serializeSafetensors(tensors));
    const expected = join(directory, 'expected.json');
    const tokenTypeIds = inputIds.map((row) => row.map(() => 0));
    writeFileSync(expected, JSON.stringify({ numLabels: 2, batch: { inputIds, tokenTypeIds } }));
    const input = JSON.stringify([{ model: directory, expected, adapter: null }]);
    const script = fileURLToPath(new URL('read_adapter.py', import.meta.url));
    const stdout = execFileSync(python, ['-W', 'ignore', script], { input, stdio: ['pipe', 'pipe', 'ignore'] });
    const [theirs] = JSON.parse(String(stdout)) as [{ logits: number[][] }];
    near(
      t,
      outputs.flatMap(({ logits }) => [...logits]),
      theirs.logits.flat(),
      1e-5,
    );
  });
}
