// Several adapters of any method in one model: switching, switching off, mixed batches; the base never changes a bit.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { setActivationThresholds } from '../../ts/nn/activation-thresholds.js';
import { addStoredAdapter, applyAdapter, readAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { openBase, readExpected, type FixtureBatch } from '../models/bert-fixtures.js';
import { datasetOf, train } from '../train/training-fixtures.js';
import { examplesOfAny, logitsOf } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const { batch: long, training } = readExpected('relu');
/** Virtual tokens need positions of their own. */
const shortened = (given: FixtureBatch): FixtureBatch => ({
  ...given,
  inputIds: given.inputIds.map((ids) => ids.slice(0, 12)),
  tokenTypeIds: given.tokenTypeIds.map((types) => types.slice(0, 12)),
});
const batch = shortened(long);

const METHODS: Readonly<Record<string, PeftOptions>> = {
  lora: { method: 'lora', r: 2, seed: 1, bias: 'all' },
  bottleneck: { method: 'bottleneck', adapterConfig: 'double_seq_bn', reductionFactor: 12, seed: 2 },
  prefix: { method: 'prefix-tuning', numVirtualTokens: 3, prefixProjection: true, seed: 3 },
  prompt: { method: 'prompt-tuning', numVirtualTokens: 2, seed: 4 },
  ia3: { method: 'ia3', seed: 5 },
  bitfit: { method: 'bitfit' },
  head: { method: 'head' },
};

const bits = (model: PeftModel): Map<string, Float32Array> =>
  new Map([...model.base.namedParameters()].map(([name, parameter]) => [name, parameter.toStored()]));

async function all(
  t: ExecutionContext,
): Promise<{ model: PeftModel; base: Map<string, Float32Array>; alone: Float32Array }> {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const plain = await openBase(backend, 'relu');
  const alone = logitsOf(plain, batch);
  const base = new Map([...plain.namedParameters()].map(([name, parameter]) => [name, parameter.toStored()]));
  const [first, ...others] = Object.entries(METHODS) as [[string, PeftOptions], ...[string, PeftOptions][]];
  const model = getPeftModel(plain, first[1]);
  for (const [name, options] of others) model.addAdapter(name, options);
  t.deepEqual(model.adapterNames, ['default', ...others.map(([name]) => name)]);
  return { model, base, alone };
}

test('each adapter trains by itself; switched off, the base has the bits it had', async (t) => {
  const { model, base, alone } = await all(t);
  const { maxLength } = model.base.info;
  const outcomes = new Map<string, Float32Array>();
  for (const name of model.adapterNames) {
    model.setAdapter(name);
    t.is(model.activeAdapter, name);
    await train(model, datasetOf(training.batches.map(shortened)), { maxSteps: 3, learningRate: 1e-2 });
    outcomes.set(name, logitsOf(model.base, batch));
  }
  t.is(new Set([...outcomes.values()].map(String)).size, outcomes.size, 'every adapter gives logits of its own');
  model.disableAdapter();
  t.is(model.activeAdapter, undefined);
  t.deepEqual(bits(model), base);
  t.deepEqual(logitsOf(model.base, batch), alone);
  t.is(model.base.info.maxLength, maxLength);
  t.is(model.trainableParameters().size, 0);
  for (const [name, logits] of outcomes) {
    model.setAdapter(name);
    t.deepEqual(logitsOf(model.base, batch), logits, name);
    t.true(model.trainableParameters().size > 0);
  }
  // One batch with an adapter for each example.
  model.setAdapter('ia3');
  const examples = examplesOfAny(batch);
  const names = ['prefix', '__base__', 'default', 'prompt', 'prefix', 'bottleneck', 'bitfit'];
  const adapterNames = examples.map((_, index) => names[index % names.length] as string);
  const outputs = model.outputs(examples, adapterNames);
  t.is(model.activeAdapter, 'ia3');
  outputs.forEach(({ logits }, index) => {
    const name = adapterNames[index] as string;
    const whole = name === '__base__' ? alone : (outcomes.get(name) as Float32Array);
    logits.forEach((value, at) => {
      const wanted = whole[index * logits.length + at] as number;
      t.true(Math.abs(value - wanted) <= 1e-5 * Math.max(1, Math.abs(wanted)), `${name} of example ${index}`);
    });
  });
  model.deleteAdapter('prompt');
  t.false(model.adapterNames.includes('prompt'));
  // What can be merged leaves a plain checkpoint.
  model.setAdapter('default');
  const merged = model.mergeAndUnload();
  t.deepEqual([...merged.namedParameters()].map(([name]) => name).sort(), [...base.keys()].sort());
});

test('what cannot be done is said in one line, and nothing changes', async (t) => {
  const { model, base } = await all(t);
  const before = model.activeAdapter;
  const refused = (body: () => unknown, message: RegExp): void => {
    t.throws(body, { instanceOf: DeftuneError, message });
    t.is(model.activeAdapter, before);
  };
  refused(() => model.setAdapter('none'), /adapter is "none", expected one of default, /);
  refused(() => model.addAdapter('ia3', { method: 'lora' }), /adapter "ia3" cannot be added/);
  refused(() => model.addAdapter('new', { method: 'full' }), /full trains the whole model/);
  refused(() => model.addAdapter('new', { method: 'lora', r: -1 }), /r is -1/);
  refused(() => model.addAdapter('new', { method: 'lora', targetModules: ['nothing'] }), /matches no linear layer/);
  refused(() => model.outputs(examplesOfAny(batch), ['ia3']), /adapterNames has 1 elements, expected/);
  const foreign = readAdapter(join(fixtures, 'adapters/bert_houlsby/adapter'));
  const cut = { ...foreign, tensors: new Map([...foreign.tensors].slice(1)) };
  refused(() => {
    addStoredAdapter(model, 'foreign', cut);
  }, /is missing/);
  t.false(model.adapterNames.includes('foreign'));
  addStoredAdapter(model, 'foreign', foreign);
  t.is(model.activeAdapter, 'foreign');
  model.disableAdapter();
  t.deepEqual(bits(model), base);
});

test('a model that a stored adapter does not fit stays as it was', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const plain = await openBase(backend, 'relu');
  const names = (): string[] => [...plain.namedParameters()].map(([name]) => name);
  const [before, logits] = [names(), logitsOf(plain, batch)];
  const foreign = readAdapter(join(fixtures, 'adapters/bert_houlsby/adapter'));
  const cut = { ...foreign, tensors: new Map([...foreign.tensors].slice(1)) };
  t.throws(() => applyAdapter(plain, cut), { instanceOf: DeftuneError, message: /is missing/ });
  t.deepEqual(names(), before);
  t.deepEqual(logitsOf(plain, batch), logits);
});

test('adapters of one model agree on its activations', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const stored = readAdapter(join(fixtures, 'bert/relu/adapter'));
  const withSidecar = (sidecar: object): typeof stored => ({ ...stored, sidecar: { ...stored.sidecar, ...sidecar } });
  const model = applyAdapter(await openBase(backend, 'relu'), stored);
  setActivationThresholds(model.base, { 'encoder.layer.1': 0.25 });
  const refused = (sidecar: object, message: RegExp): void => {
    t.throws(
      () => {
        addStoredAdapter(model, 'other', withSidecar(sidecar));
      },
      { instanceOf: DeftuneError, message },
    );
    t.deepEqual([model.adapterNames, model.activeAdapter], [['default'], 'default']);
  };
  refused({}, /threshold of encoder\.layer\.1 is 0, expected 0\.25 as of the model's other adapters$/);
  refused({ activationThresholds: { 'encoder.layer.0': 1 } }, /threshold of encoder\.layer\.0 is 1, expected 0 as/);
  refused({ activation: 'gelu' }, /deftune\.json: activation is gelu, but the model has relu/);
  addStoredAdapter(
    model,
    'other',
    withSidecar({ activationThresholds: { 'encoder.layer.1': 0.25 }, activation: 'relu' }),
  );
  t.deepEqual(model.adapterNames, ['default', 'other']);
});

test('an adapter whose thresholds do not fit leaves the model as it was', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const base = await openBase(backend, 'relu');
  const alone = logitsOf(base, batch);
  const stored = readAdapter(join(fixtures, 'bert/relu/adapter'));
  const sidecar = { ...stored.sidecar, activationThresholds: { 'h.0': 1 } };
  t.throws(() => applyAdapter(base, { ...stored, sidecar }), { instanceOf: DeftuneError, message: /"h\.0" is no MLP/ });
  t.deepEqual(logitsOf(base, batch), alone);
});
