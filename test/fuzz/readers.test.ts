// Whatever stands in a file, the answer is a result or one line that says what is wrong.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Command } from 'commander';
import fc from 'fast-check';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { withConfigFile } from '../../ts/cli/config-file.js';
import { addRunOptions } from '../../ts/cli/options.js';
import { readRecords } from '../../ts/data/records-node.js';
import { Tokenizer } from '../../ts/data/tokenizer.js';
import { openCheckpoint } from '../../ts/io/checkpoint-node.js';
import { parseSafetensors } from '../../ts/io/safetensors.js';
import { buildModel, configFields } from '../../ts/models/build-model.js';
import { checkpointDirectory } from '../../ts/train/checkpoint-directory-node.js';
import { alteredJson, damaged, RUNS, tryAll } from './mutations.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const read = (path: string): Uint8Array => new Uint8Array(readFileSync(join(fixtures, path)));

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-fuzz-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

test.serial('safetensors: damaged files', async (t) => {
  const bytes = read('bert/relu/adapter/adapter_model.safetensors');
  await tryAll(t, fc.oneof(damaged(bytes), fc.uint8Array({ maxLength: 64 })), (input) => {
    for (const { dtype, shape, data } of parseSafetensors(input, 'f').tensors.values()) {
      const size = shape.reduce((product, dim) => product * dim, 1);
      if (dtype === 'F32' && data.length !== 4 * size) throw new Error(`${data.length} bytes for [${shape.join()}]`);
    }
  });
});

test.serial('safetensors: headers that say other things', async (t) => {
  const bytes = read('bert/relu/adapter/adapter_model.safetensors');
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  await tryAll(t, alteredJson(header), (input) => {
    const text = new TextEncoder().encode(JSON.stringify(input));
    const file = new Uint8Array(8 + text.length + bytes.length - 8 - length);
    new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
    file.set(text, 8);
    file.set(bytes.subarray(8 + length), 8 + text.length);
    for (const { dtype, shape, data } of parseSafetensors(file, 'f').tensors.values()) {
      const size = shape.reduce((product, dim) => product * dim, 1);
      if (dtype === 'F32' && data.length !== 4 * size) throw new Error(`${data.length} bytes for [${shape.join()}]`);
    }
  });
});

for (const folder of ['bert/relu/model', 'roberta/model', 'gpt2/model', 't5/gated/model', 'vit/model']) {
  test.serial(`config.json of ${folder}`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const path = join(fixtures, folder);
    const source = { name: path, ...openCheckpoint(path) };
    const config: unknown = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
    const inputs = alteredJson(config);
    await tryAll(t, inputs, (input) => {
      buildModel(backend, configFields(input, 'config.json'), 'config.json', source, {}).dispose();
    });
    // Also a model that was refused half built.
    t.is(backend.liveTensors(), 0);
  });
}

test.serial('tokenizer.json, and texts for what it makes', async (t) => {
  const all = JSON.parse(readFileSync(new URL('../data/tokenizers.json', import.meta.url), 'utf8')) as unknown;
  const tokenizers: Record<string, unknown>[] = [];
  const collect = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if ('model' in value && 'pre_tokenizer' in value) tokenizers.push(value as Record<string, unknown>);
    else Object.values(value).forEach(collect);
  };
  collect(all);
  t.true(tokenizers.length > 3, `${tokenizers.length} tokenizers`);
  const inputs = fc
    .constantFrom(...tokenizers)
    .chain((tokenizer) => fc.tuple(alteredJson(tokenizer), fc.string({ unit: 'binary', maxLength: 30 })));
  await tryAll(t, inputs, ([json, text]) => {
    const tokenizer = Tokenizer.fromJson(json, {}, 'tokenizer.json');
    tokenizer.decode(tokenizer.encode(`${text} the 12 Straße`).inputIds);
  });
});

const RECORDS: Record<string, string | Uint8Array> = {
  'a.jsonl':
    '{"text": "ein Satz", "label": 1}\n{"text": "noch\\u00e9 einer", "label": "b"}\n{"inputIds": [1, 2], "label": 0}\n',
  'a.csv': 'text,label\n"a, ""quoted"" one",1\nplain,0\n"two\nlines",1\n',
  'a.tsv': 'sentence\tlabel\na b\t1\nc\t0\n',
  'a.json': '[{"text": "a", "label": 1}, {"text": "b", "label": 0}]',
  'a.parquet': read('parquet/sst2-snappy.parquet'),
  'b.parquet': read('parquet/sst2-v2.parquet'),
};
for (const [name, content] of Object.entries(RECORDS)) {
  test.serial(`records of ${name}`, async (t) => {
    const path = join(folderOf(t), name);
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    await tryAll(t, damaged(bytes), async (input) => {
      writeFileSync(path, input);
      await readRecords(path);
    });
  });
}

test.serial('--config files', async (t) => {
  const path = join(folderOf(t), 'run.yaml');
  const program = new Command('deftune').addCommand(addRunOptions(new Command('train')));
  const text = 'lr: 1e-3\nbatchSize: 4\nloraTarget: [query, value]\nshuffle: false\nmethod: lora\nwarmup: 0.1\n';
  await tryAll(t, damaged(new TextEncoder().encode(text)), (input) => {
    writeFileSync(path, input);
    withConfigFile(program, ['node', 'deftune', 'train', '--config', path]);
  });
});

test.serial('checkpoints: whatever happens to the newest, none that is damaged is taken', async (t) => {
  const folder = folderOf(t);
  const state = (step: number) => ({
    step,
    optimizer: { step, tensors: new Map([['w.m', Float32Array.of(step, 2)]]) },
    parameters: new Map([['w', { dtype: 'F32' as const, shape: [2], data: Float32Array.of(step, 1) }]]),
    progress: { evaluationsWithoutGain: 0, plateauFactor: 1, skippedBatches: 0, auxiliary: {} },
  });
  const store = checkpointDirectory(folder, {});
  for (const step of [1, 2]) await store.save(state(step), { isBest: false });
  const newest = join(folder, 'checkpoint-2');
  const names = ['trainer_state.json', 'trainer_state.safetensors'];
  const whole = names.map((name) => new Uint8Array(readFileSync(join(newest, name))));
  const inputs = fc.nat(1).chain((index) => damaged(whole[index] as Uint8Array).map((bytes) => ({ index, bytes })));
  const taken = { newest: 0, before: 0 };
  const property = fc.asyncProperty(inputs, async ({ index, bytes }) => {
    mkdirSync(newest, { recursive: true });
    names.forEach((name, at) => {
      writeFileSync(join(newest, name), at === index ? bytes : (whole[at] as Uint8Array));
    });
    const found = await store.latest();
    taken[found?.step === 2 ? 'newest' : 'before'] += 1;
    // The newest only where it says what it said (white space aside).
    const expected = state(found?.step === 2 ? 2 : 1);
    if (JSON.stringify([...(found?.parameters ?? [])]) !== JSON.stringify([...expected.parameters]))
      throw new Error('other parameters');
    if (found?.optimizer.step !== expected.step || found.step !== expected.step) throw new Error('another step');
  });
  await fc.assert(property, { numRuns: RUNS });
  t.log(`${RUNS} damaged checkpoints: ${taken.before} passed over, ${taken.newest} without a change that matters`);
  t.true(taken.before > 0.8 * RUNS);
});
