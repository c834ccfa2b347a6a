// train, eval and info of methods that are not LoRA, through the commands.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { fixture } from './fixtures.js';
import { runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

const { model, expected } = fixture('relu');
const { inputIds, labels } = expected.batch;
const records = inputIds.map((ids, index) => ({ inputIds: ids, label: labels[index] }));
const foreign = fileURLToPath(new URL('../fixtures/adapters/bert_houlsby/adapter', import.meta.url));

const PEFT_FILES = ['adapter_config.json', 'adapter_model.safetensors', 'deftune.json'];
const METHODS: Readonly<Record<string, { args: (string | number)[]; described: RegExp; files: string[] }>> = {
  bottleneck: {
    args: ['--adapter-config', 'double_seq_bn', '--reduction-factor', 12, '--non-linearity', 'gelu'],
    described: /bottleneck adapters, d \/ 12, gelu, at attention, MLP/,
    files: ['adapter.safetensors', 'adapter_config.json', 'deftune.json', 'head_config.json', 'model_head.safetensors'],
  },
  lora: {
    args: ['--lora-r', 2, '--lora-init', 'pissa', '--modules-to-save', 'pooler,1.output.LayerNorm'],
    described: /LoRA r 2, alpha 16, pissa on query, value/,
    files: PEFT_FILES,
  },
  'prefix-tuning': {
    args: ['--num-virtual-tokens', 3, '--prefix-projection', '--encoder-hidden-size', 4],
    described: /prefix of 3 tokens through an MLP/,
    files: PEFT_FILES,
  },
  'prompt-tuning': {
    args: ['--num-virtual-tokens', 2, '--prompt-init', 'SAMPLE_VOCAB'],
    described: /prompt of 2 tokens/,
    files: PEFT_FILES,
  },
};

for (const [method, { args, described, files }] of Object.entries(METHODS)) {
  test(`${method}: trained, written and read back`, async (t) => {
    const folder = temporaryFolder(t);
    const data = writeLines(join(folder, 'records.jsonl'), records);
    const out = join(folder, 'out');
    const common = ['--model', model, '--valid-file', data];
    const run = ['train', ...common, '--train-file', data, '--out', out, '--method', method, '--max-steps', 3, ...args];
    const trained = await runJson(t, run);
    t.regex(String(trained['method']), described);
    t.regex(String(trained['trainable']), /^trainable params: [\d,]+ \|\| all params: [\d,]+ \|\| trainable%: /);
    t.deepEqual(readdirSync(out).sort(), files);
    const again = await runJson(t, ['eval', ...common, '--adapter', out]);
    const evaluation = trained['evaluation'] as Record<string, unknown>;
    t.true(Math.abs((again['loss'] as number) - (evaluation['loss'] as number)) < 1e-6);
  });
}

test('an adapter directory of AdapterHub is evaluated, and trained on', async (t) => {
  const folder = temporaryFolder(t);
  const data = writeLines(join(folder, 'records.jsonl'), records);
  const common = ['--model', model, '--adapter', foreign, '--valid-file', data];
  const before = await runJson(t, ['eval', ...common]);
  t.is(typeof before['loss'], 'number');
  await runDeftune(t, ['train', ...common, '--train-file', data, '--out', join(folder, 'out'), '--max-steps', 2]);
});

test('what a method does not take is refused in one line', async (t) => {
  const folder = temporaryFolder(t);
  const data = writeLines(join(folder, 'records.jsonl'), records);
  const run = ['train', '--model', model, '--train-file', data, '--out', join(folder, 'out'), '--method'];
  const cases: [args: (string | number)[], message: RegExp][] = [
    [['bottleneck', '--adapter-config', 'houlsby'], /bottleneck: adapterConfig is "houlsby", .*seq_bn/],
    [['bottleneck', '--non-linearity', 'curve'], /nonLinearity is "curve", expected one of relu/],
    [['lora', '--lora-init', 'corda'], /initLoraWeights is "corda", expected one of true, .*\(that one needs data\)/],
    [['ia3', '--modules-to-save', 'nothing'], /^error: ia3: modulesToSave: 'nothing' matches no module/],
    [['bottleneck', '--lora-r', 4], /bottleneck: .*"r"/],
    [['prefix-tuning', '--num-virtual-tokens', 0], /numVirtualTokens is 0/],
    [['prompt-tuning', '--prompt-init', 'TEXT'], /promptTuningInitIds is undefined/],
    [['prompt-tuning', '--prompt-init-text', 'good'], /--prompt-init-text needs a tokenizer/],
  ];
  for (const [args, message] of cases) {
    const { stderr } = await runDeftune(t, [...run, ...args], { code: 1 });
    t.regex(stderr, message);
    t.is(stderr.trimEnd().split('\n').length, 1);
  }
});
