// Adapters of ViT whose files have the names of transformers 4, against real peft (test/fixtures/make_former_names.py).
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { parseSafetensors } from '../../ts/io/safetensors.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import type { PeftModel } from '../../ts/peft/peft-model.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { agreeOnGradients, agreeOnLogits, logitsOf, openAny, type Reference } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const settings = readdirSync(join(fixtures, 'former_names'));
const adapterOf = (setting: string): string => join(fixtures, 'former_names', setting, 'adapter');
const base = join(fixtures, 'vit/model');

async function open(backend: Backend, directory: string): Promise<PeftModel> {
  return applyAdapter(await openAny(backend, 'vit', base), readAdapter(directory));
}

for (const setting of settings) {
  onEachBackend(`${setting}: logits and gradients`, async (t, backend) => {
    const expected = JSON.parse(
      readFileSync(join(fixtures, 'former_names', setting, 'expected.json'), 'utf8'),
    ) as Reference;
    const model = await open(backend, adapterOf(setting));
    const grads = agreeOnLogits(t, model.base, expected);
    t.is(grads.size, Object.keys(expected.grads).length);
    const { presentPath } = model.base.info;
    agreeOnGradients(t, expected, (key) => grads.get(presentPath?.(key.replace('base_model.model.', '')) ?? ''));
  });

  test(`${setting}: written with the names of now, and read again`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const model = await open(backend, adapterOf(setting));
    const { batch } = JSON.parse(
      readFileSync(join(fixtures, 'former_names', setting, 'expected.json'), 'utf8'),
    ) as Reference;
    const directory = mkdtempSync(join(tmpdir(), 'deftune-names-'));
    try {
      saveAdapter(model, directory, base);
      const path = join(directory, 'adapter_model.safetensors');
      const keys = [...parseSafetensors(readFileSync(path), path).tensors.keys()];
      t.deepEqual(
        keys.filter((key) => /encoder|query|intermediate/.test(key)),
        [],
      );
      const again = await open(backend, directory);
      t.deepEqual(logitsOf(again.base, batch), logitsOf(model.base, batch));
      t.deepEqual(again.config, model.config);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

test('names that are neither of now nor of then are refused', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const stored = readAdapter(adapterOf('lora'));
  const other = { ...stored, config: { ...stored.config, target_modules: ['question'] } };
  const model = await openAny(backend, 'vit', base);
  t.throws(() => applyAdapter(model, other), {
    instanceOf: DeftuneError,
    message: /'question' matches no linear layer of the model; it has attention\.q_proj/,
  });
  const both = { ...stored, config: { ...stored.config, target_modules: ['query', 'q_proj', 'o_proj', 'fc1'] } };
  t.notThrows(() => applyAdapter(model, both));
});
