// Where LoRA begins: the model is its base at first, the base keeps its bits, and files are LoRA that anyone reads.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import type { Model } from '../../ts/models/model.js';
import type { LoraInitialisation } from '../../ts/peft/lora-initial.js';
import { loraLayers } from '../../ts/peft/lora-linear.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { maxAbs, maxDifference, openBase, readExpected } from '../models/bert-fixtures.js';
import { datasetOf, train } from '../train/training-fixtures.js';
import { logitsOf, openAny } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const { batch, training } = readExpected('relu');
const bits = (model: Model): Map<string, Float32Array> =>
  new Map([...model.namedParameters()].map(([name, parameter]) => [name, parameter.toStored()]));

const TAKEN_OUT: readonly LoraInitialisation[] = ['pissa', 'pissa_niter_2', 'olora'];

for (const initLoraWeights of [...TAKEN_OUT, 'orthogonal', 'gaussian', true] as const) {
  const open = async (backend: Backend) => {
    const base = await openBase(backend, 'relu');
    const [alone, before] = [logitsOf(base, batch), bits(base)];
    const options = { method: 'lora', r: 4, loraAlpha: 6, initLoraWeights, targetModules: ['query', 'output.dense'] };
    return { model: getPeftModel(base, { ...options, seed: 4 }), alone, before };
  };

  onEachBackend(`${initLoraWeights}: the model is its base at first, and trains`, async (t, backend) => {
    const { model, alone } = await open(backend);
    t.true(maxDifference(logitsOf(model.base, batch), alone) <= 1e-5 * Math.max(1, maxAbs(alone)));
    if (TAKEN_OUT.includes(initLoraWeights)) {
      t.true(
        loraLayers(model.base).every(
          ([
            ,
            {
              lora_B: { weight },
            },
          ]) => maxAbs(weight.toFloats()) > 0,
        ),
      );
    }
    // As peft counts: what was taken out is a part of the base.
    t.regex(model.describeTrainable(), /^trainable params: [\d,]+ \|\| all params: /);
    const plain = getPeftModel(await openBase(backend, 'relu'), {
      method: 'lora',
      r: 4,
      targetModules: ['query', 'output.dense'],
    });
    t.is(model.describeTrainable(), plain.describeTrainable());
  });

  test(`${initLoraWeights}: trained, merged, switched off, written and read`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const { model, alone, before } = await open(backend);
    await train(model, datasetOf(training.batches), { maxSteps: 5, learningRate: 1e-2 });
    const trained = logitsOf(model.base, batch);
    t.true(maxDifference(trained, alone) > 1e-2);
    const near = (found: Float32Array): boolean => maxDifference(found, trained) <= 1e-5 * Math.max(1, maxAbs(trained));
    model.merge();
    t.true(near(logitsOf(model.base, batch)));
    model.unmerge();
    t.deepEqual(logitsOf(model.base, batch), trained);
    const directory = mkdtempSync(join(tmpdir(), 'deftune-initial-'));
    try {
      saveAdapter(model, directory, join(fixtures, 'bert/relu/model'));
      const stored = readAdapter(directory);
      t.like(
        stored.config,
        TAKEN_OUT.includes(initLoraWeights)
          ? { r: 8, lora_alpha: 12, init_lora_weights: true }
          : { r: 4, lora_alpha: 6, init_lora_weights: initLoraWeights },
      );
      t.true(near(logitsOf(applyAdapter(await openBase(backend, 'relu'), stored).base, batch)));
    } finally {
      rmSync(directory, { recursive: true });
    }
    model.disableAdapter();
    t.deepEqual(logitsOf(model.base, batch), alone);
    t.deepEqual(bits(model.base), before);
  });
}

test('an adapter that peft began as PiSSA or OLoRA is written as LoRA on the base as it is', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  for (const [setting, base, path] of [
    ['pissa', 'bert', 'bert/relu/model'],
    ['gpt2_pissa', 'gpt2', 'gpt2/model'],
    ['olora', 'bert', 'bert/relu/model'],
  ] as const) {
    const texts = {
      inputIds: [
        [5, 9, 2],
        [7, 30, 11, 4],
      ],
      labels: [0, 1],
    };
    const model = applyAdapter(
      await openAny(backend, base, join(fixtures, path)),
      readAdapter(join(fixtures, 'peft', setting, 'adapter')),
    );
    const wanted = logitsOf(model.base, texts);
    const directory = mkdtempSync(join(tmpdir(), 'deftune-initial-'));
    try {
      saveAdapter(model, directory, join(fixtures, path));
      const again = applyAdapter(await openAny(backend, base, join(fixtures, path)), readAdapter(directory));
      t.like(again.config, { initLoraWeights: true });
      t.true(maxDifference(logitsOf(again.base, texts), wanted) <= 1e-5 * Math.max(1, maxAbs(wanted)));
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
});
