// convert: adapters of peft and of AdapterHub through the command, and what it refuses.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { fixture } from './fixtures.js';
import { runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

const { model, expected } = fixture('relu');
const records = expected.batch.inputIds.map((ids, index) => ({ inputIds: ids, label: expected.batch.labels[index] }));
const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));

test('a LoRA goes to AdapterHub and back, and says the same', async (t) => {
  const folder = temporaryFolder(t);
  const data = writeLines(join(folder, 'records.jsonl'), records);
  const [there, back] = [join(folder, 'there'), join(folder, 'back')];
  const adapter = join(fixtures, 'bert/relu/adapter');
  const { stdout } = await runDeftune(t, ['convert', '--model', model, '--adapter', adapter, '--out', there]);
  t.is(stdout, `${adapter} (peft) written to ${there} (adapters)\n`);
  t.deepEqual(readdirSync(there).sort(), [
    ...['adapter.safetensors', 'adapter_config.json', 'deftune.json', 'head_config.json', 'model_head.safetensors'],
  ]);
  const said = await runJson(t, ['convert', '--model', model, '--adapter', there, '--out', back, '--format', 'peft']);
  t.deepEqual(said, { adapter: there, from: 'adapters', to: 'peft', out: back });
  const losses = await Promise.all(
    [adapter, there, back].map(async (directory) => {
      const args = ['eval', '--model', model, '--adapter', directory, '--valid-file', data];
      return (await runJson(t, args))['loss'] as number;
    }),
  );
  t.true(
    losses.every((loss) => Math.abs(loss - (losses[0] as number)) < 1e-6),
    losses.join(', '),
  );
  // The tensors are what they were, bit for bit.
  const file = 'adapter_model.safetensors';
  t.true(readFileSync(join(back, file)).equals(readFileSync(join(adapter, file))));
});

test('what cannot be converted is refused in one line, and nothing is written', async (t) => {
  const folder = temporaryFolder(t);
  const out = join(folder, 'out');
  const run = ['convert', '--model', model, '--out', out];
  const cases: [args: string[], message: RegExp][] = [
    [['--adapter', join(fixtures, 'peft/dora/adapter')], /AdapterHub's adapters has another DoRA/],
    [['--adapter', join(fixtures, 'adapters/bert_pfeiffer/adapter')], /peft has no bottleneck adapters/],
    [['--adapter', join(fixtures, 'adapters/gpt2_lora/adapter')], /model_type is "gpt2", expected bert as the base/],
    [[], /--adapter is missing/],
    [['--adapter', join(fixtures, 'peft/ia3/adapter'), '--format', 'onnx'], /Allowed choices are peft, adapters/],
  ];
  for (const [args, message] of cases) {
    const { stderr } = await runDeftune(t, [...run, ...args], { code: 1 });
    t.regex(stderr, message);
    t.is(stderr.trimEnd().split('\n').length, 1);
    t.false(existsSync(out));
  }
});
