// LoRA as peft has it, and IA3, against real peft on the tiny BERT and GPT-2 (test/fixtures/make_peft.py): logits, gradients, merging.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import type { Backend } from '../../ts/backend/backend.js';
import { AutoModelForSequenceClassification } from '../../ts/models/auto-model-node.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import type { PeftModel } from '../../ts/peft/peft-model.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { gradients, maxAbs, maxDifference, run, type FixtureBatch } from '../models/bert-fixtures.js';

interface Expected {
  base: 'bert' | 'gpt2';
  batch: FixtureBatch;
  logits: number[][];
  loss: number;
  grads: Record<string, number[]>;
}

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const BASES = { bert: join(fixtures, 'bert/relu/model'), gpt2: join(fixtures, 'gpt2/model') };
const settings = readdirSync(join(fixtures, 'peft')).filter((name) =>
  existsSync(join(fixtures, 'peft', name, 'adapter')),
);

function expectedOf(setting: string): Expected {
  return JSON.parse(readFileSync(join(fixtures, 'peft', setting, 'expected.json'), 'utf8')) as Expected;
}

async function open(backend: Backend, setting: string): Promise<PeftModel> {
  const base = await AutoModelForSequenceClassification.fromPretrained(BASES[expectedOf(setting).base], { backend });
  return applyAdapter(base, readAdapter(join(fixtures, 'peft', setting, 'adapter')));
}

test('there are fixtures', (t) => {
  t.true(settings.length >= 8);
});

for (const setting of settings) {
  onEachBackend(`${setting}: logits and gradients`, async (t, backend) => {
    const expected = expectedOf(setting);
    const model = await open(backend, setting);
    const { outcome, grads } = gradients(model.base, expected.batch);
    t.true(maxDifference(outcome.logits, expected.logits.flat()) <= 1e-4);
    t.true(Math.abs(outcome.loss - expected.loss) <= 1e-5 * (1 + expected.loss));
    const found = new Map([...grads].map(([name, gradient]) => [`base_model.model.${name}`, gradient]));
    t.deepEqual([...found.keys()].sort(), Object.keys(expected.grads).sort());
    // Below this a gradient is 0 by mathematics (of a key's bias) and rounding in numbers.
    const floor = 1e-6 * Math.max(...Object.values(expected.grads).map(maxAbs));
    for (const [key, gradient] of Object.entries(expected.grads)) {
      const error = maxDifference(found.get(key) ?? [], gradient);
      t.true(error <= 1e-4 * maxAbs(gradient) + floor, `${key}: off by ${error}, largest ${maxAbs(gradient)}`);
    }
  });

  test(`${setting}: merged equals unmerged, unmerging gives the bits back, and a plain model is left`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const { batch, base } = expectedOf(setting);
    const model = await open(backend, setting);
    const names = (of: PeftModel['base']): string[] => [...of.namedParameters()].map(([name]) => name).sort();
    const bits = () => [...model.base.namedParameters()].map(([, parameter]) => parameter.toFloats());
    const [before, weights] = [run(model.base, batch).logits, bits()];
    model.merge();
    t.true(model.isMerged);
    t.notDeepEqual(bits(), weights);
    t.true(maxDifference(run(model.base, batch).logits, before) <= 1e-5 * Math.max(1, maxAbs(before)));
    model.merge();
    model.unmerge();
    t.false(model.isMerged);
    t.deepEqual(bits(), weights);
    t.deepEqual(run(model.base, batch).logits, before);
    const plain = model.mergeAndUnload();
    t.true(maxDifference(run(plain, batch).logits, before) <= 1e-5 * Math.max(1, maxAbs(before)));
    const fresh = await AutoModelForSequenceClassification.fromPretrained(BASES[base], { backend });
    t.deepEqual(names(plain), names(fresh));
  });

  // Factors that were taken out of the base are written beside the others: tested in lora-initial.test.ts.
  if (/pissa|olora/.test(setting)) continue;
  test(`${setting}: written as it was read`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'deftune-peft-'));
    try {
      const model = await open(backend, setting);
      saveAdapter(model, directory, BASES[expectedOf(setting).base]);
      const [ours, theirs] = [directory, join(fixtures, 'peft', setting, 'adapter')].map((path) => readAdapter(path));
      const { config = {} } = ours as { config?: Record<string, unknown> };
      for (const [field, value] of Object.entries(theirs?.config ?? {})) {
        // The head is one of the names that peft lists for every model.
        if (!(field in config) || ['base_model_name_or_path', 'modules_to_save'].includes(field)) continue;
        t.deepEqual(config[field], value, field);
      }
      for (const [key, { shape, values }] of ours?.tensors ?? []) {
        t.deepEqual(theirs?.tensors.get(key), { shape, values }, key);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}
