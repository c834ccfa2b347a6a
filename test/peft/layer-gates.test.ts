// Gates on the MLPs: an open one changes no bit, a closed one makes its MLP needless, merging keeps what they say.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { noGrad } from '../../ts/autograd/node.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { serializeSafetensors } from '../../ts/io/safetensors.js';
import type { Model } from '../../ts/models/model.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { mlpBlocks } from '../../ts/nn/mlp-block.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { scope } from '../../ts/tensor/scope.js';
import { predict } from '../../ts/train/evaluate.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { FAMILIES, LORA, directoryOf, examplesFor, folder, near, open, outcome, setGates } from './gated-models.js';

const python = process.env['DEFTUNE_PYTHON'];

/** Loss of the examples with every MLP run, as in training. */
function trainingLoss(model: Model, family: string): number {
  const { backend, head, info } = model;
  const batch = head.collate(examplesFor(family), { info });
  return noGrad(() => scope(backend, () => model.taskLoss(batch, new ForwardContext(true)).item()));
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
