// Bottleneck adapters against AdapterHub's `adapters` on every family (test/fixtures/make_adapters.py): files, logits, gradients.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { ResidualConnection } from '../../ts/nn/residual-connection.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import type { PeftModel } from '../../ts/peft/peft-model.js';
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

/** Names of the model's parameters as `adapters` has them. */
function names(model: PeftModel): Map<string, string> {
  const places = [...model.base.namedModules()].flatMap(([path, module]) =>
    module instanceof ResidualConnection ? [[`${path}.joint.`, `${module.adaptersName}.adapters.`] as const] : [],
  );
  return new Map(
    [...model.trainableParameters().keys()].map((name) => {
      const place = places.find(([path]) => name.startsWith(path));
      return [name, place ? place[1] + name.slice(place[0].length) : name];
    }),
  );
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
    const own = names(model);
    const found = new Map([...grads].map(([name, gradient]) => [own.get(name) ?? name, gradient]));
    t.deepEqual([...found.keys()].sort(), Object.keys(expected.grads).sort());
    agreeOnGradients(t, expected, (key) => found.get(key));
  });

  test(`${setting}: written as it was read`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'deftune-adapters-'));
    try {
      const { batch, model: base } = expectedOf(setting);
      const model = await open(backend, setting);
      saveAdapter(model, directory, join(fixtures, base));
      const [ours, theirs] = [directory, join(fixtures, 'adapters', setting, 'adapter')].map((path) =>
        readAdapter(path),
      );
      t.deepEqual(ours?.config, theirs?.config);
      t.deepEqual(
        [...(ours?.tensors ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)),
        [...(theirs?.tensors ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)),
      );
      t.is(ours?.modelType, theirs?.modelType);
      // As text too: Python tells 1 from 1.0, and `adapters` takes no other scaling than a float.
      const scalings = [directory, join(fixtures, 'adapters', setting, 'adapter')].map(
        (path) => /"scaling": .*/.exec(readFileSync(join(path, 'adapter_config.json'), 'utf8'))?.[0],
      );
      t.is(scalings[0], scalings[1]);
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
