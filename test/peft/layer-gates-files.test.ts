// Files keep the gates, and say which MLPs need not be read; those that do not fit are refused.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { applyAdapter, readAdapter, saveAdapter, skippedMlps } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { FAMILIES, LORA, directoryOf, folder, open, outcome, setGates } from './gated-models.js';

for (const family of Object.keys(FAMILIES)) {
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
}

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
