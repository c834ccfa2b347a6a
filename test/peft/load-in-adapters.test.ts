// What this library writes, read by AdapterHub's `adapters`: set DEFTUNE_ADAPTERS_PYTHON to a python that has it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { Rng } from '../../ts/data/rng.js';
import { saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { maxAbs, maxDifference } from '../models/bert-fixtures.js';
import { logitsOf, openAny, type AnyBatch } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const python = process.env['DEFTUNE_ADAPTERS_PYTHON'];

const CLASSIFIER = 'AutoModelForSequenceClassification';
const BASES: Readonly<Record<string, [directory: string, model: string]>> = {
  bert: ['bert/relu/model', CLASSIFIER],
  roberta: ['roberta/model', CLASSIFIER],
  gpt2: ['gpt2/model', CLASSIFIER],
  t5: ['t5/relu/model', 'AutoModelForSeq2SeqLM'],
  vit: ['vit/model', 'AutoModelForImageClassification'],
};

const CASES: Readonly<Record<string, [base: string, options: PeftOptions]>> = {
  'Houlsby adapters': ['bert', { method: 'bottleneck', adapterConfig: 'double_seq_bn', reductionFactor: 9 }],
  'Pfeiffer adapters of RoBERTa': ['roberta', { method: 'bottleneck', reductionFactor: 12, nonLinearity: 'gelu' }],
  'parallel adapters of GPT-2': ['gpt2', { method: 'bottleneck', adapterConfig: 'par_bn', reductionFactor: 12 }],
  'adapters of T5': [
    't5',
    { method: 'bottleneck', adapterConfig: 'double_seq_bn', crossAdapter: true, reductionFactor: 9 },
  ],
  'adapters of ViT': ['vit', { method: 'bottleneck', leaveOut: [0], reductionFactor: { default: 6 } }],
  LoRA: ['bert', { method: 'lora', r: 3, loraAlpha: 7 }],
  'rsLoRA on the MLPs of RoBERTa': [
    'roberta',
    { method: 'lora', r: 2, useRslora: true, targetModules: '.*layer\\.1\\.(intermediate|output)\\.dense' },
  ],
  'LoRA on the fused projection of GPT-2': ['gpt2', { method: 'lora', r: 2 }],
  'LoRA on every layer of GPT-2 that adapters knows': [
    'gpt2',
    { method: 'lora', r: 2, targetModules: ['c_attn', 'c_fc', 'mlp.c_proj'] },
  ],
  'LoRA of T5': ['t5', { method: 'lora', r: 2, targetModules: ['q', 'k', 'v', 'wi', 'wo'] }],
  'LoRA of ViT': ['vit', { method: 'lora', r: 2, targetModules: ['k_proj', 'fc1', 'fc2'] }],
  IA3: ['bert', { method: 'ia3', targetModules: ['key', 'value', 'intermediate.dense'], feedforwardModules: [] }],
  'IA3 of GPT-2': ['gpt2', { method: 'ia3', targetModules: ['c_attn', 'c_fc'], feedforwardModules: [] }],
  prefix: ['bert', { method: 'prefix-tuning', numVirtualTokens: 3, movesPositions: false }],
  'prefix through an MLP': [
    'roberta',
    {
      ...{ method: 'prefix-tuning', numVirtualTokens: 2, movesPositions: false, prefixProjection: true },
      ...{ encoderHiddenSize: 5, nonLinearity: 'relu' },
    },
  ],
  'prefix of GPT-2': ['gpt2', { method: 'prefix-tuning', numVirtualTokens: 2, movesPositions: false }],
  'prefix of ViT': ['vit', { method: 'prefix-tuning', numVirtualTokens: 2 }],
  prompt: ['bert', { method: 'prompt-tuning', numVirtualTokens: 3, combine: 'prefix' }],
  'prompt behind the first token': [
    'roberta',
    { method: 'prompt-tuning', numVirtualTokens: 2, combine: 'prefix_after_bos' },
  ],
  'prompt of ViT': ['vit', { method: 'prompt-tuning', numVirtualTokens: 2 }],
};

const draw = new Rng(11);
const texts = (...lengths: number[]): number[][] =>
  lengths.map((length) => Array.from({ length }, () => 2 + draw.nextBelow(38)));
const BATCHES: Readonly<Record<string, AnyBatch>> = {
  t5: { inputIds: texts(5, 9, 1), labelIds: texts(3, 1, 6) },
  vit: {
    pixelValues: [0, 1].map(() =>
      [0, 1].map(() => Array.from({ length: 12 }, () => Array.from({ length: 8 }, () => draw.nextNormal()))),
    ),
    labels: [0, 1],
  },
};
const text: AnyBatch = { inputIds: texts(5, 11, 2), labels: [0, 1, 1] };

for (const [name, [base, options]] of Object.entries(CASES)) {
  const title = `adapters reads ${name}`;
  if (python === undefined) {
    test.skip(`${title} [DEFTUNE_ADAPTERS_PYTHON is not set]`, () => undefined);
    continue;
  }
  test.serial(title, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'deftune-adapters-'));
    try {
      const [path, architecture] = BASES[base] as [string, string];
      const model = getPeftModel(await openAny(backend, base, join(fixtures, path)), options);
      const rng = new Rng(7);
      for (const parameter of model.trainableParameters().values()) {
        parameter.writeStored(parameter.toStored().map((value) => value + 0.2 * rng.nextNormal()));
      }
      saveAdapter(model, directory, join(fixtures, path), {}, 'adapters');
      const batch = BATCHES[base] ?? text;
      writeFileSync(join(directory, 'batch.json'), JSON.stringify(batch));
      const args = [join(fixtures, 'check_adapters.py'), join(fixtures, path), architecture, directory];
      const output = execFileSync(python, ['-W', 'ignore', ...args, join(directory, 'batch.json')], {
        ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
      } as { encoding: 'utf8' });
      const theirs = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Record<
        'missing' | 'unexpected',
        string[]
      > & {
        logits: number[][];
      };
      t.deepEqual([theirs.missing, theirs.unexpected], [[], []]);
      const wanted = theirs.logits.flat();
      t.true(maxDifference(logitsOf(model.base, batch), wanted) <= 1e-4 * Math.max(1, maxAbs(wanted)));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}
