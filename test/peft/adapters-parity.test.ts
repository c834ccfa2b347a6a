// The methods of AdapterHub's `adapters` against it on every family (test/fixtures/make_adapters.py): files, logits, gradients.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import type { AdaptersFormat } from '../../ts/peft/adapters-format.js';
import { headParameters } from '../../ts/peft/head-parameters.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import type { PeftModel } from '../../ts/peft/peft-model.js';
import { valuesOf, type SavedTensor } from '../../ts/peft/saved-tensor.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { agreeOnGradients, agreeOnLogits, logitsOf, openAny, type Reference } from './any-batch.js';

interface Expected extends Reference {
  base: string;
  model: string;
}

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const settings = readdirSync(join(fixtures, 'adapters'));
const expectedOf = (setting: string): Expected =>
  JSON.parse(readFileSync(join(fixtures, 'adapters', setting, 'expected.json'), 'utf8')) as Expected;

async function open(backend: Backend, setting: string): Promise<PeftModel> {
  const { base, model } = expectedOf(setting);
  const directory = join(fixtures, 'adapters', setting, 'adapter');
  return applyAdapter(await openAny(backend, base, join(fixtures, model)), readAdapter(directory));
}

/** Gradients under the names of `adapters`, and as its files would hold them: they take the parameters' places for it. */
function inTheirNames(model: PeftModel, setting: string, grads: Map<string, Float32Array>): Map<string, Float32Array> {
  const { config = {} } = readAdapter(join(fixtures, 'adapters', setting, 'adapter'));
  const parameters = model.trainableParameters();
  const before = [...parameters].map(([name, parameter]) => [name, parameter.toStored()] as const);
  const own = (model.method.adapters as AdaptersFormat<unknown>).savedTensors(model.base, model.config, config);
  for (const [name, parameter] of parameters)
    parameter.writeStored(grads.get(name) ?? new Float32Array(parameter.size));
  const found = valuesOf(new Map<string, SavedTensor>([...own, ...headParameters(model.base)]));
  for (const [name, values] of before) parameters.get(name)?.writeStored(values);
  return new Map([...found].map(([name, { values }]) => [name, values]));
}

test('there are fixtures of every family, in both kinds of file', (t) => {
  t.deepEqual([...new Set(settings.map((setting) => expectedOf(setting).base))].sort(), [
    'bert',
    'gpt2',
    'roberta',
    't5',
    'vit',
  ]);
  const files = new Set(settings.flatMap((setting) => readdirSync(join(fixtures, 'adapters', setting, 'adapter'))));
  t.true(files.has('pytorch_adapter.bin') && files.has('adapter.safetensors'));
});

for (const setting of settings) {
  onEachBackend(`${setting}: logits and gradients`, async (t, backend) => {
    const expected = expectedOf(setting);
    const model = await open(backend, setting);
    const grads = agreeOnLogits(t, model.base, expected);
    const found = inTheirNames(model, setting, grads);
    // torch names the first of the names that a prefix has.
    const isAgain = (key: string): boolean => key.includes('.prefix_tunings.') && !(key in expected.grads);
    const keys = [...found.keys()].filter((key) => !isAgain(key));
    t.deepEqual(keys.sort(), Object.keys(expected.grads).sort());
    agreeOnGradients(t, expected, (key) => found.get(key));
  });

  test(`${setting}: written as it was read`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'deftune-adapters-'));
    try {
      const { batch, model: base } = expectedOf(setting);
      const model = await open(backend, setting);
      saveAdapter(model, directory, join(fixtures, base), {}, 'adapters');
      const [ours, theirs] = [directory, join(fixtures, 'adapters', setting, 'adapter')].map((path) =>
        readAdapter(path),
      );
      // An initialisation is no longer what the tensors come from.
      t.deepEqual({ ...ours?.config, init_weights: null }, { ...theirs?.config, init_weights: null });
      t.deepEqual(
        [...(ours?.tensors ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)),
        [...(theirs?.tensors ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)),
      );
      t.is(ours?.modelType, theirs?.modelType);
      // As text too: Python tells 1 from 1.0, and `adapters` takes no other scaling than a float.
      const floats = [directory, join(fixtures, 'adapters', setting, 'adapter')].map((path) =>
        readFileSync(join(path, 'adapter_config.json'), 'utf8').match(/"(scaling|dropout)": .*/g),
      );
      t.deepEqual(floats[0], floats[1]);
      const again = applyAdapter(
        await openAny(backend, expectedOf(setting).base, join(fixtures, base)),
        readAdapter(directory),
      );
      t.deepEqual(logitsOf(again.base, batch), logitsOf(model.base, batch));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}
