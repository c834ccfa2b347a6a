// WebAssembly against the addon, and the addon's instruction sets against each other.
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { VARIANTS, gradients, maxAbs, maxDifference, openAdapted, readExpected } from '../models/bert-fixtures.js';
import { evaluateCase } from '../ops/evaluate-case.js';
import { GRADIENT_CHECKS } from '../ops/gradient-checks.js';
import { datasetOf, openTrainable, parametersOf, train } from '../train/training-fixtures.js';
import { BACKENDS } from './on-each-backend.js';

/**
 * Relative to the largest element: rounding differs where products are fused, sums have another width, and exp and erf another
 * polynomial step. Measured: at most 8e-7.
 */
const OPERATION = 5e-6;
/** Through a model of two layers; the bias of the head, a sum that nearly cancels, measures 9e-6. */
const MODEL = 2e-5;
/** After six steps of AdamW; measured: below 5e-5. */
const TRAINING = 2e-4;

type Values = ReadonlyMap<string, ArrayLike<number>>;

function agree(t: ExecutionContext, found: Values, reference: Values, tolerance: number, what: string): void {
  t.deepEqual([...found.keys()], [...reference.keys()]);
  for (const [name, right] of reference) {
    const error = maxDifference(found.get(name) ?? [], right) / Math.max(maxAbs(right), 1e-3);
    t.true(error <= tolerance, `${what}: ${name} differs by ${error} of its largest element`);
  }
}

async function operations(t: ExecutionContext, other: Backend): Promise<void> {
  const reference = await createBackend({ backend: 'native', threads: 1 });
  for (const [name, cases] of Object.entries(GRADIENT_CHECKS)) {
    for (const example of cases) {
      agree(t, evaluateCase(other, example), evaluateCase(reference, example), OPERATION, `${name}, ${example.title}`);
    }
  }
}

async function models(t: ExecutionContext, other: Backend): Promise<void> {
  const reference = await createBackend({ backend: 'native', threads: 1 });
  for (const variant of VARIANTS) {
    const { batch } = readExpected(variant);
    const values = async (backend: Backend): Promise<Values> => {
      const { base } = await openAdapted(backend, variant);
      const { outcome, grads } = gradients(base, batch, [densityLoss({ alpha: 0.5, eps: 1e-2 }, variant)]);
      const { logits, density, loss, densityLoss: value } = outcome;
      return new Map<string, ArrayLike<number>>([
        ['logits', logits],
        ['losses', [loss, value]],
        ['density', density.perLayer],
        ...grads,
      ]);
    };
    agree(t, await values(other), await values(reference), MODEL, variant);
  }
}

async function trainings(t: ExecutionContext, other: Backend): Promise<void> {
  const reference = await createBackend({ backend: 'native', threads: 1 });
  const { training } = readExpected('relu');
  const values = async (backend: Backend): Promise<Values> => {
    const options = { method: 'lora', r: 4, targetModules: 'all-linear', loraDropout: 0.2 };
    const model = await openTrainable(backend, 'relu', options);
    const args = { maxSteps: 6, learningRate: 1e-3, shuffle: true };
    const { log } = await train(model, datasetOf(training.batches), args, {
      auxiliaryLosses: [densityLoss({}, 'relu')],
    });
    return new Map<string, ArrayLike<number>>([['losses', log.map(({ loss }) => loss)], ...parametersOf(model)]);
  };
  agree(t, await values(other), await values(reference), TRAINING, 'after six steps');
}

const native = await createBackend({ backend: 'native', threads: 1 });
const others = [
  ...native
    .isaAvailable()
    .filter((isa) => isa !== native.isaName())
    .map((isa) => ({
      name: `native ${isa}`,
      missing: undefined,
      open: () => createBackend({ backend: 'native', threads: 2, isa }),
    })),
  ...BACKENDS.filter(({ name }) => name !== 'native'),
];

for (const { name, missing, open } of others) {
  for (const [title, body] of Object.entries({ operations, models, 'training runs': trainings })) {
    const declared = missing === undefined ? test : test.skip;
    declared(
      `${title} agree with native ${native.isaName()} [${name}${missing === undefined ? '' : `: ${missing}`}]`,
      async (t) => body(t, await open()),
    );
  }
}
