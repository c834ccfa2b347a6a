// Batches whose loss or gradient is no number: left out as often as is allowed, and the run that goes on.
import { join } from 'node:path';
import test from 'ava';
import { recordOne } from '../../ts/autograd/node.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { DeftuneError } from '../../ts/error.js';
import type { AuxiliaryLoss } from '../../ts/nn/auxiliary-loss.js';
import type { ForwardContext } from '../../ts/nn/forward-context.js';
import type { PeftModel } from '../../ts/peft/peft-model.js';
import type { Tensor } from '../../ts/tensor/tensor.js';
import { NonFiniteError } from '../../ts/train/non-finite-error.js';
import type { TrainResult } from '../../ts/train/trainer.js';
import { readLines, runDeftune, temporaryFolder, writeLines } from '../cli/run-deftune.js';
import { bundled } from '../cli/fixtures.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { LORA, data } from './lora-run.js';
import { openTrainable, parametersOf, train } from './training-fixtures.js';

/** What the value and the gradient of a loss are multiplied by. */
interface Spoiled {
  value?: number;
  gradient?: number;
}

/** A density loss that is spoiled in some steps. */
class SpoiledLoss implements AuxiliaryLoss {
  readonly name = 'spoiled';
  readonly weight = 0.1;
  private readonly loss = densityLoss({ alpha: 0.1 }, 'relu');
  private spoiled: Spoiled = {};

  constructor(private readonly steps: Readonly<Record<number, Spoiled>>) {}

  beginStep(step: number): void {
    this.spoiled = this.steps[step] ?? {};
  }

  prepare(context: ForwardContext): void {
    this.loss.prepare?.(context);
  }

  compute(context: ForwardContext): Tensor {
    const { value = 1, gradient = 1 } = this.spoiled;
    const loss = this.loss.compute(context);
    const { backend, handle, shape } = loss;
    return recordOne('spoiled', backend, [loss], backend.scale(handle, value), shape, (dy) => [
      backend.scale(dy, gradient),
    ]);
  }
}

interface Seen {
  /** Steps that were made. */
  steps: number[];
  /** What was said of those left out. */
  skips: string[];
  /** Parameters after each step, made or left out. */
  parameters: Map<string, Float32Array>[];
}

function trainSpoiled(
  model: PeftModel,
  spoiled: Readonly<Record<number, Spoiled>>,
  skipBadBatches: number,
): { seen: Seen; result: Promise<TrainResult> } {
  const seen: Seen = { steps: [], skips: [], parameters: [] };
  const result = train(
    model,
    data,
    { maxSteps: 5, skipBadBatches },
    {
      auxiliaryLosses: [new SpoiledLoss(spoiled)],
      onStep: ({ step }) => {
        seen.steps.push(step);
        seen.parameters.push(parametersOf(model));
      },
      onSkip: (error) => {
        seen.skips.push(error.message);
        seen.parameters.push(parametersOf(model));
      },
    },
  );
  return { seen, result };
}

const SPOILED: readonly [what: string, spoiled: Spoiled, message: RegExp][] = [
  ['a loss', { value: Number.NaN }, /^step 3: the loss is NaN, expected a finite number/],
  [
    'a gradient',
    { gradient: Infinity },
    /^step 3: the gradient norm is (NaN|Infinity), expected a finite number; .* the gradient of /,
  ],
];

for (const [what, spoiled, message] of SPOILED) {
  onEachBackend(`${what} that is no number is left out, and nothing of it stays`, async (t, backend) => {
    const model = await openTrainable(backend, 'relu', LORA);
    const { seen, result } = trainSpoiled(model, { 3: spoiled }, 1);
    const { steps, skippedBatches, log } = await result;
    t.is(steps, 5);
    t.is(skippedBatches, 1);
    t.deepEqual(seen.steps, [1, 2, 4, 5]);
    t.deepEqual(
      log.map(({ step }) => step),
      [1, 2, 4, 5],
    );
    t.is(seen.skips.length, 1);
    t.regex(seen.skips[0] ?? '', message);
    t.deepEqual(seen.parameters[2], seen.parameters[1], 'the bad batch changed a parameter');
    t.notDeepEqual(seen.parameters[3], seen.parameters[2]);
    t.true(log.every(({ loss }) => Number.isFinite(loss)));
    model.base.dispose();
    t.is(backend.liveTensors(), 0);
  });
}

onEachBackend('one bad batch more than may be left out ends the run', async (t, backend) => {
  const model = await openTrainable(backend, 'relu', LORA);
  const { seen, result } = trainSpoiled(model, { 2: { value: Number.NaN }, 4: { value: Number.NaN } }, 1);
  const error = await t.throwsAsync(result, { instanceOf: NonFiniteError });
  t.true(error instanceof DeftuneError);
  t.regex(error.message, /^step 4: the loss is NaN/);
  t.deepEqual(seen.steps, [1, 3]);
  t.is(seen.skips.length, 1);
  model.base.dispose();
  t.is(backend.liveTensors(), 0);
});

test('the command leaves out what --skip-bad-batches allows, and says so', async (t) => {
  const folder = temporaryFolder(t);
  // Fractions are targets; the square of one is no f32.
  const records = writeLines(
    join(folder, 'targets.jsonl'),
    [0.5, 1e30, 0.25].map((label, index) => ({ text: ['good', 'so dull', 'fine'][index], label })),
  );
  const log = join(folder, 'log.jsonl');
  const run = (...more: (string | number)[]): (string | number)[] => [
    ...['train', '--model', bundled.model, '--train-file', records, '--out', join(folder, 'out'), '--log', log],
    ...['--batch-size', 1, '--epochs', 1, '--no-shuffle', ...more],
  ];
  const { stderr } = await runDeftune(t, run('--skip-bad-batches', 1));
  t.regex(stderr, /a batch was left out: step 2: the loss is Infinity/);
  t.deepEqual(
    readLines<{ step: number }>(log).map(({ step }) => step),
    [1, 3],
  );
  const refused = await runDeftune(t, run(), { code: 1 });
  t.regex(refused.stderr, /^error: step 2: the loss is Infinity/m);
});
