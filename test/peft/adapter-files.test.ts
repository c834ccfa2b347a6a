// Adapters in peft's format: those that peft wrote, our own read back, and our own read by peft.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { parseSafetensors, serializeSafetensors, type TensorToStore } from '../../ts/io/safetensors.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import {
  VARIANTS,
  fixturePath,
  maxDifference,
  openAdapted,
  openBase,
  readExpected,
  run,
  type Variant,
} from '../models/bert-fixtures.js';
import { datasetOf, train } from '../train/training-fixtures.js';

const root = mkdtempSync(join(tmpdir(), 'deftune-adapters-'));
test.after.always(() => rmSync(root, { recursive: true }));
let folders = 0;
const freshFolder = (): string => join(root, String((folders += 1)));

type Json = Record<string, unknown>;
const readObject = (path: string): Json => JSON.parse(readFileSync(path, 'utf8')) as Json;

/** A LoRA or head that a few steps have moved away from its beginning, saved. */
async function trained(
  backend: Backend,
  variant: Variant,
  options: PeftOptions,
): Promise<{ model: PeftModel; directory: string; logits: Float32Array }> {
  const { training, batch } = readExpected(variant);
  const model = getPeftModel(await openBase(backend, variant), options);
  await train(model, datasetOf(training.batches), { maxSteps: 5, learningRate: 1e-2 });
  const directory = freshFolder();
  saveAdapter(model, directory, fixturePath(variant, 'model'));
  return { model, directory, logits: run(model.base, batch).logits };
}

const METHODS: readonly PeftOptions[] = [
  { method: 'lora', r: 2, loraAlpha: 7, targetModules: ['query', 'value'], seed: 3 },
  { method: 'lora', r: 4, loraAlpha: 4, targetModules: 'all-linear', loraDropout: 0.1 },
  { method: 'lora', r: 1, loraAlpha: 2, targetModules: '.*\\.layer\\.[01]\\.(intermediate|output)\\.dense' },
  { method: 'head' },
  { method: 'full' },
];

for (const options of METHODS) {
  const { targetModules } = options as { targetModules?: unknown };
  const title = `${options.method}${targetModules === undefined ? '' : ` on ${JSON.stringify(targetModules)}`}`;
  onEachBackend(`saved and read back: ${title}`, async (t, backend) => {
    const { directory, logits, model } = await trained(backend, 'gelu', options);
    const { batch, baseLogits } = readExpected('gelu');
    t.true(maxDifference(logits, baseLogits.flat()) > 1e-2, 'training has changed the model');
    if (options.method === 'full') {
      // A model of its own: opened without an adapter.
      const again = await openBase(backend, 'gelu', { directory });
      t.deepEqual(run(again, batch).logits, logits);
      return;
    }
    const stored = readAdapter(directory);
    const again = applyAdapter(await openBase(backend, 'gelu'), stored);
    t.deepEqual(run(again.base, batch).logits, logits);
    t.deepEqual([...again.trainableParameters().keys()], [...model.trainableParameters().keys()]);
    t.deepEqual(again.config, model.config);
  });
}

test('the files are those that peft writes', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const model = await openAdapted(backend, 'relu');
  const directory = freshFolder();
  saveAdapter(model, directory, fixturePath('relu', 'model'));
  t.deepEqual(readdirSync(directory).sort(), ['adapter_config.json', 'adapter_model.safetensors', 'deftune.json']);
  const path = join(directory, 'adapter_model.safetensors');
  const ours = parseSafetensors(readFileSync(path), path);
  const theirsPath = join(fixturePath('relu', 'adapter'), 'adapter_model.safetensors');
  const theirs = parseSafetensors(readFileSync(theirsPath), theirsPath);
  t.deepEqual(ours.metadata, theirs.metadata);
  t.deepEqual([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort());
  for (const [name, { dtype, shape, data }] of theirs.tensors) {
    const mine = ours.tensors.get(name);
    t.deepEqual([mine?.dtype, mine?.shape], [dtype, shape], name);
    t.true(Buffer.from(data).equals(Buffer.from(mine?.data ?? [])), name);
  }
  // The config says the same, in peft's own style; unknown fields of later versions are theirs alone.
  const text = readFileSync(join(directory, 'adapter_config.json'), 'utf8');
  const config = JSON.parse(text) as Json;
  const peft = readObject(join(fixturePath('relu', 'adapter'), 'adapter_config.json'));
  for (const field of ['peft_type', 'task_type', 'r', 'lora_alpha', 'lora_dropout', 'target_modules', 'bias']) {
    t.deepEqual(config[field], peft[field], field);
  }
  t.deepEqual(
    Object.keys(config).filter((field) => !(field in peft)),
    [],
  );
  t.deepEqual(Object.keys(config), Object.keys(config).sort());
  t.true(text.startsWith('{\n  "'));
});

test('an adapter in half precision is widened', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const directory = freshFolder();
  cpSync(fixturePath('relu', 'adapter'), directory, { recursive: true });
  const path = join(directory, 'adapter_model.safetensors');
  const { tensors } = parseSafetensors(readFileSync(path), path);
  const halves = new Map<string, TensorToStore>(
    [...tensors].map(([name, { shape, data }]) => {
      const words = new Uint16Array(Uint8Array.from(data).buffer);
      // The upper half of an f32 is its bf16.
      const upper = words.filter((_, index) => index % 2 === 1);
      return [name, { dtype: 'BF16', shape: [...shape], data: new Uint8Array(upper.buffer) }];
    }),
  );
  writeFileSync(path, serializeSafetensors(halves));
  const { batch, logits } = readExpected('relu');
  const model = applyAdapter(await openBase(backend, 'relu'), readAdapter(directory));
  const difference = maxDifference(run(model.base, batch).logits, logits.flat());
  t.true(difference > 0 && difference < 2e-2, `off by ${difference}`);
});

/** A copy of peft's adapter with another config, or with other tensors. */
function altered(change: { config?: Json; tensors?: (tensors: Map<string, TensorToStore>) => void }): string {
  const directory = freshFolder();
  cpSync(fixturePath('relu', 'adapter'), directory, { recursive: true });
  if (change.config) {
    const path = join(directory, 'adapter_config.json');
    writeFileSync(path, JSON.stringify({ ...readObject(path), ...change.config }));
  }
  if (change.tensors) {
    const path = join(directory, 'adapter_model.safetensors');
    const tensors = new Map(parseSafetensors(readFileSync(path), path).tensors) as Map<string, TensorToStore>;
    change.tensors(tensors);
    writeFileSync(path, serializeSafetensors(tensors));
  }
  return directory;
}

const Q = 'base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight';

test('an adapter that does not fit is refused in one line, and the model stays as it was', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const cases: [directory: string, message: RegExp][] = [
    [altered({ config: { peft_type: 'DEFT' } }), /adapter_config\.json: peft_type is .?DEFT.?, expected one of /],
    [altered({ config: { r: 0 } }), /adapter_config\.json: r is 0, .*expected/],
    [altered({ config: { r: 'eight' } }), /adapter_config\.json: r is .?eight.?, .*expected/],
    [altered({ config: { r: 4 } }), /lora_A\.weight has shape \[3, 36\], expected \[4, 36\]/],
    [altered({ config: { target_modules: ['query'] } }), /self\.value\.lora_A\.weight is unexpected/],
    [altered({ config: { target_modules: ['nothing'] } }), /'nothing' matches no linear layer of the model; it has/],
    [altered({ config: { target_modules: '(' } }), /"\(" is not a valid regular expression/],
    [
      altered({ tensors: (tensors) => tensors.delete(Q) }),
      /the adapter does not fit the model: \S+query\.lora_A\.weight is missing$/,
    ],
    [
      altered({ tensors: (tensors) => tensors.set('base_model.model.other', tensors.get(Q) as TensorToStore) }),
      /base_model\.model\.other is unexpected/,
    ],
    [
      altered({ tensors: (tensors) => tensors.set(Q, { ...(tensors.get(Q) as TensorToStore), dtype: 'I32' }) }),
      /query\.lora_A\.weight is stored as I32, expected F32, F16 or BF16/,
    ],
  ];
  for (const [directory, message] of cases) {
    const base = await openBase(backend, 'relu');
    const error = t.throws(() => applyAdapter(base, readAdapter(directory)), { instanceOf: DeftuneError });
    t.regex(error?.message ?? '', message);
    t.false(error?.message.includes('\n') ?? true);
    base.dispose();
  }
  t.throws(() => readAdapter(freshFolder()), { instanceOf: DeftuneError, message: /adapter_config\.json is missing/ });
});

const python = process.env['DEFTUNE_PYTHON'];
const pythonTest = python === undefined ? test.skip : test;
const why = python === undefined ? ' [DEFTUNE_PYTHON is not set: a Python with torch, transformers and peft]' : '';

interface Job {
  model: string;
  expected: string;
  adapter: string | null;
}

/** What transformers and peft make of model directories and adapters. */
async function readByPeft(jobs: readonly Job[]): Promise<(Json & { logits: number[][] })[]> {
  const script = fileURLToPath(new URL('read_adapter.py', import.meta.url));
  const running = promisify(execFile)(python as string, [script], { env: { ...process.env, HF_HUB_OFFLINE: '1' } });
  running.child.stdin?.end(JSON.stringify(jobs));
  return JSON.parse((await running).stdout) as (Json & { logits: number[][] })[];
}

pythonTest(`our files give the same logits in real transformers and peft${why}`, async (t) => {
  const backend = await createBackend({ backend: 'native' });
  const made: { title: string; options: PeftOptions; logits: Float32Array; job: Job }[] = [];
  for (const variant of VARIANTS) {
    // peft has no file for the head alone.
    for (const options of METHODS.filter(({ method }) => method !== 'head')) {
      const { directory, logits } = await trained(backend, variant, options);
      const isModel = options.method === 'full';
      const job: Job = {
        model: isModel ? directory : fixturePath(variant, 'model'),
        expected: fixturePath(variant, 'expected.json'),
        adapter: isModel ? null : directory,
      };
      made.push({ title: `${variant}, ${JSON.stringify(options)}`, options, logits, job });
    }
  }
  const found = await readByPeft(made.map(({ job }) => job));
  t.is(found.length, 16);
  for (const [index, { title, options, logits, job }] of made.entries()) {
    const theirs = found[index] as (typeof found)[number];
    if (job.adapter !== null) {
      t.deepEqual([theirs['peftType'], theirs['r'], theirs['taskType']], ['LORA', options['r'], 'SEQ_CLS'], title);
    }
    const difference = maxDifference(logits, theirs.logits.flat());
    t.true(difference <= 1e-4, `${title}: off by ${difference}`);
  }
});
