// What this library writes, read by real peft: set DEFTUNE_PYTHON to a python that has it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { Rng } from '../../ts/data/rng.js';
import { AutoModelForSequenceClassification } from '../../ts/models/auto-model-node.js';
import { saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { maxDifference, run } from '../models/bert-fixtures.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const BASES = { bert: join(fixtures, 'bert/relu/model'), gpt2: join(fixtures, 'gpt2/model') };
const python = process.env['DEFTUNE_PYTHON'];

const CASES: Record<string, [base: keyof typeof BASES, options: PeftOptions]> = {
  'rsLoRA with patterns': [
    'bert',
    {
      method: 'lora',
      r: 2,
      useRslora: true,
      targetModules: ['query', 'output.dense'],
      rankPattern: { query: 3 },
      alphaPattern: { dense: 5 },
    },
  ],
  'DoRA with every bias': ['bert', { method: 'lora', r: 2, useDora: true, bias: 'all', initLoraWeights: false }],
  'biases of the adapted layers': ['bert', { method: 'lora', r: 2, bias: 'lora_only', initLoraWeights: 'gaussian' }],
  'one layer without a module': [
    'bert',
    {
      method: 'lora',
      targetModules: ['query', 'dense'],
      layersToTransform: 1,
      layersPattern: 'layer',
      excludeModules: '.*intermediate.*',
    },
  ],
  'all linear layers': ['bert', { method: 'lora', r: 1, targetModules: 'all-linear' }],
  'DoRA of GPT-2': ['gpt2', { method: 'lora', r: 2, useDora: true, targetModules: ['c_attn', 'mlp.c_proj'] }],
  IA3: ['bert', { method: 'ia3' }],
  'IA3 of GPT-2': ['gpt2', { method: 'ia3' }],
};

for (const [name, [base, options]] of Object.entries(CASES)) {
  const title = `peft reads ${name}`;
  if (python === undefined) {
    test.skip(`${title} [DEFTUNE_PYTHON is not set]`, () => undefined);
    continue;
  }
  test.serial(title, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'deftune-peft-'));
    try {
      const model = getPeftModel(
        await AutoModelForSequenceClassification.fromPretrained(BASES[base], { backend }),
        options,
      );
      const rng = new Rng(7);
      for (const parameter of model.trainableParameters().values()) {
        parameter.writeStored(parameter.toStored().map((value) => value + 0.2 * rng.nextNormal()));
      }
      saveAdapter(model, directory, BASES[base]);
      const inputIds = [[5, 9, 2, 30], [7], [11, 3, 40, 8, 8, 21, 1]];
      const batch = { inputIds, tokenTypeIds: inputIds.map((ids) => ids.map(() => 0)), labels: [0, 1, 0] };
      writeFileSync(join(directory, 'batch.json'), JSON.stringify(batch));
      const script = join(fixtures, 'check_peft.py');
      const args = ['-W', 'ignore', script, BASES[base], directory, join(directory, 'batch.json')];
      const output = execFileSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
      const theirs = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Record<'keys' | 'unexpected', string[]> & {
        logits: number[][];
      };
      t.deepEqual(theirs.unexpected, []);
      // With `bias: all` peft saves the head's biases under further names too.
      const keys = theirs.keys.filter((key) => !/\.(original_module|modules_to_save)\./.test(key));
      t.deepEqual(keys, [...model.stateDict().keys()].sort());
      t.true(maxDifference(run(model.base, batch).logits, theirs.logits.flat()) <= 1e-4);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}
