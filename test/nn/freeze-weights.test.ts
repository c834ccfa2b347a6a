// precision 'bf16' is f32 arithmetic on frozen weights that were rounded to bf16: the results have the same bits. Where the CPU multiplies bf16 by
// itself, what is multiplied with them is rounded too.
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { AutoModelForSequenceClassification } from '../../ts/models/auto-model-node.js';
import type { Model, ModelOptions } from '../../ts/models/model.js';
import { Linear } from '../../ts/nn/linear.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { predict } from '../../ts/train/evaluate.js';
import { Trainer } from '../../ts/train/trainer.js';
import { onEachBackend } from '../backend/on-each-backend.js';

const directory = fileURLToPath(new URL('../fixtures/bert/relu/model/', import.meta.url));
const open = (backend: Backend, options: ModelOptions): Promise<Model> =>
  AutoModelForSequenceClassification.fromPretrained(directory, { backend, ...options });
const examples = [
  { inputIds: [2, 5, 7, 9, 3], label: 1 },
  { inputIds: [3], label: 0 },
  { inputIds: [2, 11, 4, 3], label: 0 },
];

/** Rounds to nearest even, as bf16. */
function rounded(values: Float32Array): Float32Array {
  const bits = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] as number;
    bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
  return new Float32Array(bits.buffer);
}

function roundLinears(model: Model, except: readonly string[] = []): void {
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof Linear) || except.includes(path)) continue;
    model.backend.writeF32(module.weight.handle, rounded(module.weight.toFloats()));
  }
}

const logits = async (model: Model): Promise<number[]> =>
  (await predict(model, examples)).outputs.flatMap((output) => numbersIn(output));

/** The numbers in a value, in order. */
const numbersIn = (value: unknown): number[] => {
  if (typeof value === 'number') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(numbersIn) : [];
};

/** Whether the CPU's own bf16 arithmetic is used. */
const roundsRows = (backend: Backend): boolean => /-(amx|bf16)$/.test(backend.isaName());

function agree(t: ExecutionContext, backend: Backend, found: number[], expected: number[], what?: string): void {
  t.is(found.length, expected.length, what);
  t.true(found.length > 0, what);
  if (!roundsRows(backend)) {
    t.deepEqual(found, expected, what);
    return;
  }
  found.forEach((value, index) => t.true(Math.abs(value - (expected[index] as number)) < 0.02, `${what} ${value}`));
}

onEachBackend('bf16 predicts with the bits of f32 on rounded weights, and reads them back', async (t, backend) => {
  const [half, full] = [await open(backend, { precision: 'bf16' }), await open(backend, {})];
  t.notDeepEqual(await logits(half), await logits(full));
  roundLinears(full);
  agree(t, backend, await logits(half), await logits(full));
  const weights = (model: Model): Float32Array[] =>
    [...model.namedParameters()].map(([, parameter]) => parameter.toFloats());
  t.deepEqual(weights(half), weights(full));
});

onEachBackend('training in bf16 rounds what is frozen and nothing else', async (t, backend) => {
  const losses = async (model: Model, method: string): Promise<number[]> => {
    const trained = getPeftModel(model, { method, seed: 3 });
    const args = { maxSteps: 4, batchSize: 2, learningRate: 1e-2, seed: 5 };
    const result = await new Trainer({ model: trained, trainDataset: examples, args }).train();
    return result.log.map(({ loss }) => loss);
  };
  for (const method of ['lora', 'head', 'full']) {
    const [half, full] = [await open(backend, { precision: 'bf16' }), await open(backend, {})];
    if (method !== 'full') roundLinears(full, ['classifier']);
    agree(t, backend, await losses(half, method), await losses(full, method), method);
  }
});

test('bf16 halves the memory of frozen linear layers, forward and backward forms alike', async (t) => {
  const bytes = async (precision: 'f32' | 'bf16', outputs: number, inputs: number): Promise<number> => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const weight = backend.uploadF32(new Float32Array(outputs * inputs).fill(0.1), outputs, inputs);
    const x = backend.uploadF32(new Float32Array(2 * inputs), 2, inputs);
    const before = backend.liveBytes();
    backend.freezeWeight(weight, precision);
    backend.beginScope();
    const y = backend.linear(x, weight, 0);
    backend.linearBackwardInput(y, weight, 0);
    backend.endScope();
    return backend.liveBytes() - before + outputs * inputs * 4;
  };
  t.is(await bytes('f32', 480, 480), 2 * 480 * 480 * 4);
  t.is(await bytes('bf16', 480, 480), 480 * 480 * 4);
  // Long panels lie apart, by less than a hundredth.
  const long = await bytes('f32', 768, 3072);
  t.true(long >= 2 * 768 * 3072 * 4 && long <= 2 * 768 * 3072 * 4 * 1.01, `${long} bytes`);
  t.is(await bytes('bf16', 768, 3072), long / 2);
});

test('another precision is refused', async (t) => {
  const backend = await createBackend();
  const precision = 'f16' as unknown as 'bf16';
  await t.throwsAsync(open(backend, { precision }), { message: /precision is "f16", expected 'f32' or 'bf16'/ });
});
