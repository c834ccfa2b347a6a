// What deftune.json says of the density beside an adapter.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { DensityRecorder, type DensityRecord } from '../../ts/train/density-recorder.js';
import { Trainer } from '../../ts/train/trainer.js';
import { fixturePath, openBase, readExpected } from '../models/bert-fixtures.js';
import { datasetOf } from './training-fixtures.js';

for (const isSparse of [true, false]) {
  test(`${isSparse ? 'DEFT' : 'PEFT'}: settings, and measured densities by layer`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const { training } = readExpected('relu');
    const model = getPeftModel(await openBase(backend, 'relu'), { method: 'lora', r: 2 });
    const dataset = datasetOf(training.batches);
    const losses = isSparse ? [densityLoss({ alpha: 0.2, beta: 7, alphaScheduler: 'linear' }, 'relu')] : [];
    const recorder = new DensityRecorder(losses);
    t.deepEqual(recorder.record(), { loss: isSparse ? { ...recorder.record().loss, alpha: 0 } : null });
    const trainer = new Trainer({
      model,
      trainDataset: dataset,
      evalDataset: dataset,
      auxiliaryLosses: losses,
      callbacks: [recorder],
      args: { maxSteps: 4 },
    });
    const { log, evaluation } = await trainer.train();
    const directory = mkdtempSync(join(tmpdir(), 'deftune-density-'));
    try {
      saveAdapter(model, directory, fixturePath('relu', 'model'), { density: recorder.record() });
      const sidecar = JSON.parse(readFileSync(join(directory, 'deftune.json'), 'utf8')) as { density: DensityRecord };
      const { loss, training: last, validation } = sidecar.density;
      if (isSparse) t.like(loss, { loss: 'tanh', form: 'feature-map', alpha: 0.2, beta: 7, alphaScheduler: 'linear' });
      else t.is(loss, null);
      t.like(last, { step: 4, density: log.at(-1)?.density });
      t.is(validation?.density, evaluation?.density);
      t.deepEqual(validation?.layerDensity, evaluation?.layerDensity);
      t.is(validation?.layerDensity.length, 2);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}
