// What a run tells TensorBoard and Weights & Biases.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { eventRecord } from '../../ts/train/event-record.js';
import { tensorBoard } from '../../ts/train/tensorboard-node.js';
import type { TrainerCallback, TrainResult } from '../../ts/train/trainer.js';
import { weightsAndBiases } from '../../ts/train/weights-and-biases.js';
import { readExpected } from '../models/bert-fixtures.js';
import { datasetOf, openTrainable, train } from './training-fixtures.js';

const data = datasetOf(readExpected('relu').training.batches.slice(0, 2));
const python = process.env['DEFTUNE_TENSORBOARD_PYTHON'];

async function run(callbacks: TrainerCallback[], maxSteps = 5): Promise<TrainResult> {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const model = await openTrainable(backend, 'relu', { method: 'lora', r: 2 });
  return train(model, data, { maxSteps, evalSteps: 2 }, { evalDataset: data, callbacks });
}

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-events-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

test('events are those of the tensorboard package, byte for byte', (t) => {
  const path = fileURLToPath(new URL('../fixtures/events.json', import.meta.url));
  const cases = JSON.parse(readFileSync(path, 'utf8')) as {
    event: Parameters<typeof eventRecord>[0];
    record: string;
  }[];
  t.true(cases.length > 5);
  for (const { event, record } of cases) t.is(Buffer.from(eventRecord(event)).toString('base64'), record);
});

test('a run has one event file, whose records are whole', async (t) => {
  const folder = folderOf(t);
  await run([tensorBoard(folder)]);
  const [name, ...others] = readdirSync(folder);
  t.deepEqual(others, []);
  t.regex(name ?? '', /^events\.out\.tfevents\.\d{10}\./);
  const bytes = readFileSync(join(folder, name ?? ''));
  let records = 0;
  let at = 0;
  for (; at < bytes.length; records++) at += 16 + Number(bytes.readBigUInt64LE(at));
  t.is(at, bytes.length);
  // The version, the start, five steps, evaluations after 2, 4 and 5.
  t.is(records, 10);
});

const title = 'tensorboard reads a run, and of a resumed one each step once';
if (python === undefined) {
  test.skip(`${title} [DEFTUNE_TENSORBOARD_PYTHON is not set]`, () => undefined);
} else {
  test(title, async (t) => {
    const folder = folderOf(t);
    const { log } = await run([tensorBoard(folder)], 6);
    // As after a kill: the steps from 4 on are run again.
    const again = tensorBoard(folder);
    for (const entry of log.slice(3)) await again.onStep?.(entry, 6);
    await again.onEnd?.();
    const script = fileURLToPath(new URL('read_events.py', import.meta.url));
    const text = execFileSync(python, [script, folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const read = JSON.parse(text) as Record<string, [number, number][]>;
    t.deepEqual(
      read['train/loss'],
      log.map(({ step, loss }) => [step, Math.fround(loss)]),
    );
    t.deepEqual(
      read['train/learning_rate'],
      log.map(({ step, lr }) => [step, Math.fround(lr)]),
    );
    t.deepEqual(
      read['eval/accuracy']?.map(([step]) => step),
      [2],
    );
  });
}

test('Weights & Biases is told of every step and evaluation, and that the run has ended', async (t) => {
  const calls: unknown[][] = [];
  const client = {
    init: async (...args: unknown[]) => void calls.push(['init', ...args]),
    log: (values: Record<string, number>) => void calls.push(['log', values['train/global_step'], values]),
    finish: async () => void calls.push(['finish']),
  };
  const { log } = await run([await weightsAndBiases({ project: 'p', config: { lr: 1 }, client })]);
  t.deepEqual(calls[0], ['init', { project: 'p', config: { lr: 1 } }]);
  t.deepEqual(
    calls.slice(1, -1).map(([, step]) => step),
    [1, 2, 2, 3, 4, 4, 5, 5],
  );
  t.is((calls[1]?.[2] as Record<string, number>)['train/loss'], log[0]?.loss);
  t.true('eval/accuracy' in (calls[3]?.[2] as object));
  t.deepEqual(calls.at(-1), ['finish']);
});

test('a missing or refusing client is one line', async (t) => {
  await t.throwsAsync(weightsAndBiases({ project: 'p' }), {
    instanceOf: DeftuneError,
    message: /^Weights & Biases needs the package @wandb\/sdk; install it with: npm install @wandb\/sdk$/,
  });
  const client = { init: () => Promise.reject(new Error('no key')), log: () => 0, finish: async () => 0 };
  await t.throwsAsync(weightsAndBiases({ project: 'p', client }), { message: /cannot be started: no key$/ });
});
