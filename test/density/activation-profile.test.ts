// What the profile counts, by hand.
import test from 'ava';
import type { RaggedBatch } from '../../ts/data/batching.js';
import { collate } from '../../ts/data/batching.js';
import { ActivationProfile, type LayerProfile } from '../../ts/density/activation-profile.js';
import { profileMean } from '../../ts/density/profile-mean.js';
import { kernelGain } from '../../ts/density/kernel-gain.js';
import type { MlpObservation } from '../../ts/nn/forward-context.js';
import { Linear } from '../../ts/nn/linear.js';
import { Parameter } from '../../ts/nn/parameter.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import { activate } from '../../ts/ops/index.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { onEachBackend } from '../backend/on-each-backend.js';

const mlp = (backend: Backend, rows: number[][], side: 'encoder' | 'decoder' = 'encoder'): MlpObservation => {
  const width = rows[0]?.length ?? 0;
  return {
    ...{ name: 'layer.0', side, down: new Linear(Parameter.of(backend, new Float32Array(width), [1, width])) },
    ...activate(Tensor.fromFloats(backend, rows.flat(), [rows.length, width]), activationKind('relu')),
  };
};

onEachBackend('thresholds, kinds of tokens, positions, neurons, multiply-adds', (t, backend) => {
  const profile = new ActivationProfile({ thresholds: [0.5, 2], specialTokenIds: [101, 102] });
  // Two sequences of three and two tokens; neuron 0 is always on, neuron 3 never.
  const batch = collate([{ inputIds: [101, 7, 102] }, { inputIds: [101, 8] }]);
  const rows = [
    [1, 0.1, 0, 0],
    [1, 0, 0, 0],
    [3, 1, 1, 0],
    [1, 0, 0, 0],
    [1, 0, 4, 0],
  ];
  profile.add([mlp(backend, rows)], batch);
  const [layer] = profile.perLayer();
  t.like(layer, { name: 'layer.0', tokens: 5, dFf: 4, density: 9 / 20, deadNeurons: 1, alwaysOnNeurons: 1 });
  t.deepEqual(layer?.thresholded, [
    { threshold: 0.5, density: 8 / 20 },
    { threshold: 2, density: 2 / 20 },
  ]);
  t.is(layer?.specialTokens, 6 / 12);
  t.is(layer?.otherTokens, 3 / 8);
  t.deepEqual(layer?.byPosition, [3 / 8, 3 / 8, 3 / 4]);
  t.deepEqual(Array.from(layer?.neuronDensity ?? []), [1, 2 / 5, 2 / 5, 0].map(Math.fround));
  // d = 10: up and down 5 · 4 · 10 each, 11 of 20 inputs are zero.
  t.deepEqual(profile.skippedWork(10), { mlp: 400, skipped: 110, energyRatio: 290 / 400 });
  t.is(profile.skippedWork(10, 2).energyRatio, 490 / 600);
  // A second batch is added to the first.
  profile.add([mlp(backend, [[0, 0, 0, 1]])], collate([{ inputIds: [9] }]));
  t.like(profile.perLayer()[0], { tokens: 6, density: 10 / 24, deadNeurons: 0, alwaysOnNeurons: 0 });
});

test('the mean of layers: each counts alike, what is not known is left out', (t) => {
  const layer = (over: Partial<LayerProfile>): LayerProfile => ({
    ...{ name: 'a', side: 'encoder', tokens: 4, dFf: 8, density: 0.5, deadNeurons: 1, alwaysOnNeurons: 2 },
    ...{ thresholded: [{ threshold: 0.1, density: 0.25 }], byPosition: [], neuronDensity: new Float32Array(8) },
    ...over,
  });
  const layers = [
    layer({ byPosition: [1, 0.5], specialTokens: 0.25, otherTokens: 0.75 }),
    layer({ density: 0.25, dFf: 16, byPosition: [0.5], thresholded: [{ threshold: 0.1, density: 0 }] }),
  ];
  t.deepEqual(profileMean(layers), {
    ...{ density: 0.375, thresholded: [{ threshold: 0.1, density: 0.125 }], specialTokens: 0.25, otherTokens: 0.75 },
    ...{ byPosition: [0.75, 0.5], neurons: 24, deadNeurons: 2, alwaysOnNeurons: 4 },
  });
  t.is(profileMean([]), undefined);
});

onEachBackend('rows whose tokens are not known are counted, and not placed', (t, backend) => {
  const profile = new ActivationProfile({ specialTokenIds: [1] });
  profile.add([mlp(backend, [[1, 0]])], collate([{ inputIds: [1, 2, 3] }]));
  const [layer] = profile.perLayer();
  t.like(layer, { tokens: 1, density: 0.5, specialTokens: undefined, otherTokens: undefined });
  t.deepEqual(layer?.byPosition, []);
});

onEachBackend('a decoder has tokens of its own, images have patches', (t, backend) => {
  const decoder = { inputIds: Int32Array.of(0, 5), positionIds: Int32Array.of(0, 1), cuSeqlens: Int32Array.of(0, 2) };
  const text = { ...collate([{ inputIds: [4] }]), decoder } satisfies RaggedBatch;
  const profile = new ActivationProfile({ specialTokenIds: [0] });
  profile.add([mlp(backend, [[1], [0]], 'decoder')], text);
  t.like(profile.perLayer()[0], { specialTokens: 1, otherTokens: 0, byPosition: [1, 0] });
  const images = {
    ...text,
    inputIds: new Int32Array(0),
    size: 2,
    pixelValues: [new Float32Array(1), new Float32Array(1)],
  };
  const patches = new ActivationProfile();
  patches.add([mlp(backend, [[1], [0], [1], [1]])], images);
  t.deepEqual(patches.perLayer()[0]?.byPosition, [1, 0.5]);
});

test('the gain of the kernels is a pair of times, and frees what it made', async (t) => {
  const backend = await createBackend({ threads: 1 });
  const rows = Array.from({ length: 40 }, (_, row) =>
    Array.from({ length: 64 }, (_, i) => (i % 16 === row % 16 ? 1 : -1)),
  );
  const observed = mlp(backend, rows);
  const before = backend.liveTensors();
  const { sparse, dense } = kernelGain(observed.out, 32);
  t.true(sparse > 0 && dense > 0 && Number.isFinite(sparse) && Number.isFinite(dense));
  t.is(backend.liveTensors(), before);
});
