// What `train` writes: its format, and that it is read back by the next run and by the other commands.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseSafetensors } from '../../ts/io/safetensors.js';
import { fixtureRun, type Step } from './fixture-run.js';
import { fixture, recordsOf } from './fixtures.js';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

test('--lora-* shape the adapter, which is in peft’s format', async (t) => {
  const folder = temporaryFolder(t);
  const { args } = fixtureRun(folder, 'relu');
  const fresh = args.toSpliced(args.indexOf('--adapter'), 2);
  const train = async (
    name: string,
    ...extra: (string | number)[]
  ): Promise<[Record<string, unknown>, string[], Map<string, number[]>]> => {
    const out = join(folder, name);
    await runDeftune(t, [...fresh, '--max-steps', 1, '--out', out, ...extra]);
    const config = JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    const { tensors, metadata } = parseSafetensors(readFileSync(join(out, 'adapter_model.safetensors')), name);
    t.deepEqual(metadata, { format: 'pt' });
    t.deepEqual(readdirSync(out).sort(), ['adapter_config.json', 'adapter_model.safetensors', 'deftune.json']);
    return [config, [...tensors.keys()].sort(), new Map([...tensors].map(([key, { shape }]) => [key, shape]))];
  };
  const [config, keys, shapes] = await train('default');
  t.like(config, { peft_type: 'LORA', task_type: 'SEQ_CLS', r: 8, lora_alpha: 16, lora_dropout: 0 });
  t.deepEqual(config['target_modules'], ['query', 'value']);
  // The keys that peft itself writes for this model and these modules.
  const reference = parseSafetensors(
    readFileSync(join(fixture('relu').adapter, 'adapter_model.safetensors')),
    'reference',
  );
  t.deepEqual(keys, [...reference.tensors.keys()].sort());
  t.deepEqual(shapes.get('base_model.model.bert.encoder.layer.1.attention.self.value.lora_A.weight'), [8, 36]);

  const settings = ['--lora-r', 3, '--lora-alpha', 5, '--lora-dropout', 0.1, '--lora-target'];
  const [small, smallKeys, smallShapes] = await train('small', ...settings, 'intermediate.dense,key');
  t.like(small, { r: 3, lora_alpha: 5, lora_dropout: 0.1 });
  t.deepEqual(small['target_modules'], ['intermediate.dense', 'key']);
  t.is(smallKeys.filter((key) => key.includes('lora_')).length, 2 * 2 * 2);
  t.deepEqual(smallShapes.get('base_model.model.bert.encoder.layer.0.intermediate.dense.lora_B.weight'), [76, 3]);
  const [pattern, patternKeys] = await train('pattern', '--lora-target', '.*layer\\.1\\..*(query|key)');
  t.is(pattern['target_modules'], '.*layer\\.1\\..*(query|key)');
  t.is(patternKeys.filter((key) => key.includes('lora_')).length, 4);
  const [, allKeys] = await train('all', '--lora-target', 'all-linear');
  t.is(allKeys.filter((key) => key.includes('lora_')).length, 2 * (2 * 6 + 1));
});

test('a run goes on from the adapter it wrote, and predict and eval read it', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('gelu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches.slice(0, 5)));
  const out = join(folder, 'out');
  const data = ['--model', model, '--train-file', records, '--valid-file', records, '--batch-size', 20, '--no-shuffle'];
  const first = await runJson(t, ['train', ...data, '--max-steps', 20, '--lr', 0.01, '--out', out]);
  const { accuracy, loss, density } = first['evaluation'] as Record<string, number>;
  t.like(first, { out, steps: 20, trainExamples: 20, validExamples: 20 });
  t.true((first['seconds'] as number) > 0);

  const evaluated = await runJson(t, ['eval', '--model', model, '--adapter', out, '--valid-file', records]);
  t.like(evaluated, { accuracy, examples: 20 });
  t.true(Math.abs((evaluated['loss'] as number) - (loss ?? 0)) < 1e-6);
  t.true(Math.abs((evaluated['density'] as number) - (density ?? 0)) < 1e-6);

  const output = join(folder, 'predictions.jsonl');
  await runDeftune(t, ['predict', '--model', model, '--adapter', out, '--input', records, '--output', output]);
  const right = readLines<{ label: string }>(output).filter(
    ({ label }, index) => label === `LABEL_${recordsOf(expected.training.batches)[index]?.label}`,
  );
  t.is<unknown, unknown>(right.length / 20, accuracy);

  // With nothing dropped, the next run's first loss is that of the last evaluation.
  const log = join(folder, 'log.jsonl');
  const on = ['--adapter', out, '--max-steps', 1, '--out', join(folder, 'on'), '--log', log];
  await runDeftune(t, ['train', ...data, ...on, '--lora-r', 8]);
  t.true(Math.abs((readLines<Step>(log)[0]?.loss ?? 0) - (loss ?? 0)) < 1e-5);
});

for (const method of ['head', 'full']) {
  test(`--method ${method}: what is written reads back`, async (t) => {
    const folder = temporaryFolder(t);
    const { model, expected } = fixture('relu');
    const records = writeLines(
      join(folder, 'records.jsonl'),
      recordsOf(expected.training.batches.slice(0, 5)).map(({ inputIds, label }) => ({
        inputIds,
        label: label ? 'yes' : 'no',
      })),
    );
    const out = join(folder, 'out');
    // What an earlier run left must not be read in its place.
    await runDeftune(t, ['train', '--model', model, '--train-file', records, '--max-steps', 1, '--out', out]);
    const args = ['train', '--model', model, '--train-file', records, '--valid-file', records, '--method', method];
    const trained = await runJson(t, [...args, '--max-steps', 5, '--lr', 0.01, '--out', out]);
    t.false(existsSync(join(out, 'adapter_config.json')));
    const { loss } = trained['evaluation'] as Record<string, number>;
    const opened = [['--model', model, '--adapter', out], ...(method === 'full' ? [['--model', out]] : [])];
    for (const paths of opened) {
      const evaluated = await runJson(t, ['eval', ...paths, '--valid-file', records]);
      t.true(Math.abs((evaluated['loss'] as number) - (loss ?? 0)) < 1e-6);
    }
    const output = join(folder, 'predictions.jsonl');
    await runDeftune(t, ['predict', ...(opened.at(-1) ?? []), '--input', records, '--output', output]);
    t.true(readLines<{ label: string }>(output).every(({ label }) => label === 'yes' || label === 'no'));
  });
}
