// BERT against transformers: hidden 36, three heads, MLP 76, sequences of 1 to 24 tokens (see test/fixtures/make_bert.py).
import type { ExecutionContext } from 'ava';
import type { Model } from '../../ts/models/model.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import {
  VARIANTS,
  hiddenStates,
  maxDifference,
  openAdapted,
  openBase,
  readExpected,
  run,
  type Density,
  type FixtureBatch,
} from './bert-fixtures.js';

/** Logits, densities and losses are compared absolutely. */
const TOLERANCE = 1e-4;

function close(t: ExecutionContext, found: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  const difference = maxDifference(found, expected);
  t.true(difference <= TOLERANCE, `${what}: off by ${difference}`);
}

/** Densities are counts: equal but for a pre-activation within rounding of 0. */
function sameDensity(t: ExecutionContext, found: Density, expected: Density): void {
  close(t, found.perLayer, expected.perLayer, 'density by layer');
  close(t, [found.mean], [expected.mean], 'density');
}

for (const variant of VARIANTS) {
  onEachBackend(`${variant}: logits, loss and density of the base model`, async (t, backend) => {
    const expected = readExpected(variant);
    const model = await openBase(backend, variant);
    t.is(model.info.numLabels, expected.numLabels);
    t.is(model.info.activation, expected.hiddenAct);
    const found = run(model, expected.batch);
    close(t, found.logits, expected.baseLogits.flat(), 'logits');
    close(t, [found.taskLoss], [expected.baseLoss], 'loss');
    sameDensity(t, found.density, expected.baseDensity);
    // A batch of one is that sequence's row: nothing leaks from one sequence to the next.
    const { inputIds, tokenTypeIds, labels } = expected.batch;
    for (const [index, row] of expected.baseLogits.entries()) {
      const one = run(model, {
        inputIds: inputIds.slice(index, index + 1),
        tokenTypeIds: tokenTypeIds.slice(index, index + 1),
        labels: labels.slice(index, index + 1),
      });
      close(t, one.logits, row, `sequence ${index} alone`);
    }
  });

  onEachBackend(`${variant}: logits, loss and density with an adapter that peft wrote`, async (t, backend) => {
    const expected = readExpected(variant);
    const { base } = await openAdapted(backend, variant);
    const found = run(base, expected.batch);
    close(t, found.logits, expected.logits.flat(), 'logits');
    close(t, [found.taskLoss], [expected.loss], 'loss');
    sameDensity(t, found.density, expected.density);
  });

  onEachBackend(`${variant}: a model gives back all of its memory`, async (t, backend) => {
    const model = await openBase(backend, variant);
    run(model, readExpected(variant).batch);
    t.true(backend.liveBytes() > 0);
    model.dispose();
    t.is(backend.liveTensors(), 0);
    t.is(backend.liveBytes(), 0);
  });
}

/** expected.json of a fixture in half precision. */
interface PlainExpected {
  batch: FixtureBatch;
  density: Density;
  lastHiddenState: number[][][];
  poolerOutput: number[][];
  baseLogits?: number[][];
  baseLoss?: number;
}

function closeStates(t: ExecutionContext, model: Model, expected: PlainExpected): void {
  const { last, pooled } = hiddenStates(model, expected.batch);
  close(t, last, expected.lastHiddenState.flat(2), 'last hidden states');
  close(t, pooled, expected.poolerOutput.flat(), 'pooled sequences');
  sameDensity(t, run(model, expected.batch).density, expected.density);
}

onEachBackend('BF16 weights give the logits of their values in F32', async (t, backend) => {
  const expected = readExpected<Required<PlainExpected>>('relu_bf16');
  const model = await openBase(backend, 'relu_bf16');
  const found = run(model, expected.batch);
  close(t, found.logits, expected.baseLogits.flat(), 'logits');
  close(t, [found.taskLoss], [expected.baseLoss], 'loss');
  closeStates(t, model, expected);
});

onEachBackend('F16 shards without prefix and head give the same states, and get a new head', async (t, backend) => {
  const notices: string[] = [];
  const model = await openBase(backend, 'relu_f16', { onNotice: (notice) => notices.push(notice) });
  closeStates(t, model, readExpected<PlainExpected>('relu_f16'));
  t.deepEqual(notices, ['newly initialized (train before use): classifier.weight, classifier.bias']);
});
