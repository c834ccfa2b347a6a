import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseSafetensors } from '../../ts/io/safetensors.js';
import { bundled, fixture, modelWith, recordsOf } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface Step {
  step: number;
  loss: number;
  taskLoss: number;
  densityLoss: number;
  density: number;
  lr: number;
  tokens: number;
  seconds: number;
}

interface EvalLine {
  eval: true;
  step: number;
  accuracy?: number;
  loss: number;
  density: number;
}

const STEP_FIELDS = ['step', 'loss', 'taskLoss', 'densityLoss', 'density', 'lr', 'tokens', 'seconds'] as const;

/** A run on the first batches of a fixture, in their order, four records a batch. */
function fixtureRun(
  folder: string,
  variant: string,
): { args: (string | number)[]; log: string; out: string; records: string } {
  const { model, adapter, expected } = fixture(variant);
  const records = writeLines(join(folder, `${variant}.jsonl`), recordsOf(expected.training.batches));
  const log = join(folder, 'log.jsonl');
  const out = join(folder, 'out');
  const args = ['train', '--model', model, '--adapter', adapter, '--train-file', records, '--out', out, '--log', log];
  return { args: [...args, '--no-shuffle', '--batch-size', 4], log, out, records };
}

function isClose(t: ExecutionContext, actual: number, expected: number, tolerance: number, what: string): void {
  const error = Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-3);
  t.true(error <= tolerance, `${what} is ${actual}, PyTorch has ${expected}`);
}

const LOSSES: Readonly<Record<string, readonly (string | number)[]>> = {
  none: [],
  tanh: ['--density', 'tanh', '--beta', 20],
  'l0_1e-2': ['--density', 'l0', '--eps', 1e-2],
  'element_1e-2': ['--density', 'l0', '--density-form', 'element', '--eps', 1e-2],
};

for (const [name, settings] of Object.entries(LOSSES)) {
  onBothBackends(`ten steps from an adapter log PyTorch's losses, ${name}`, async (t, backend) => {
    const { expected } = fixture('relu');
    const { args, log } = fixtureRun(temporaryFolder(t), 'relu');
    const alpha = name === 'none' ? [] : ['--alpha', expected.training.alpha];
    const optimizer = ['--lr', 1e-3, '--weight-decay', 0.01, '--max-grad-norm', 1, '--warmup', 2, '--max-steps', 10];
    const { stderr } = await runDeftune(t, [...args, ...settings, ...alpha, ...optimizer, '--backend', backend]);
    t.notRegex(stderr, /has no effect/);
    const steps = readLines<Step & { gradNorm: number }>(log);
    const reference = expected.training[name]?.steps ?? [];
    t.is(steps.length, 10);
    steps.forEach((line, index) => {
      for (const field of STEP_FIELDS) t.is(typeof line[field], 'number', field);
      const known = reference[index] as NonNullable<(typeof reference)[number]>;
      t.is(line.step, index + 1);
      for (const field of ['loss', 'taskLoss', 'densityLoss', 'gradNorm', 'lr'] as const) {
        isClose(t, line[field], known[field], field === 'gradNorm' ? 1e-3 : 1e-4, `step ${index + 1}: ${field}`);
      }
      // A sum on either side of zero may fall on the other in another order of summation.
      t.true(Math.abs(line.density - known.density) < 1e-3);
      t.is<unknown, unknown>(line.tokens, expected.training.batches[index]?.inputIds.flat().length);
      t.true(line.seconds > 0);
      isClose(
        t,
        line.loss,
        line.taskLoss + (name === 'none' ? 0 : expected.training.alpha) * line.densityLoss,
        1e-6,
        'loss',
      );
    });
  });
}

test('the element form, accumulation, full fine-tuning and regression are PyTorch’s too', async (t) => {
  const check = async (variant: string, name: string, extra: (string | number)[]): Promise<void> => {
    const { expected } = fixture(variant);
    const run = fixtureRun(temporaryFolder(t), variant);
    const settings = ['--lr', 1e-3, '--weight-decay', 0.01, '--warmup', 2, '--max-steps', 10];
    // Full fine-tuning starts from the model, not from the adapter.
    const start = run.args.findIndex((arg) => arg === '--adapter');
    const args = name === 'full' ? run.args.toSpliced(start, 2) : run.args;
    await runDeftune(t, [...args, ...settings, ...extra]);
    const losses = readLines<Step>(run.log).map(({ loss }) => loss);
    const reference = expected.training[name]?.steps ?? [];
    t.is(losses.length, 10);
    losses.forEach((loss, i) => {
      isClose(t, loss, reference[i]?.loss ?? Number.NaN, 1e-4, `${variant} ${name} ${i}`);
    });
  };
  await Promise.all([
    check('relu', 'accumulate', ['--accumulate', 2]),
    check('relu', 'full', ['--method', 'full']),
    check('silu', 'none', []),
    check('gelu', 'tanh', ['--density', 'tanh', '--alpha', 0.5]),
    check('gelu_new', 'none', []),
  ]);
});

test('evaluation lines carry eval: true, at steps, epochs and the end', async (t) => {
  const folder = temporaryFolder(t);
  const { args, log, records } = fixtureRun(folder, 'relu');
  const evaluated = async (...extra: (string | number)[]): Promise<EvalLine[]> => {
    await runDeftune(t, [...args, '--valid-file', records, ...extra]);
    const lines = readLines<Step | EvalLine>(log);
    t.true(lines.every((line) => 'eval' in line || STEP_FIELDS.every((field) => field in line)));
    return lines.filter((line): line is EvalLine => 'eval' in line);
  };
  const bySteps = await evaluated('--eval-steps', 2, '--max-steps', 5);
  t.deepEqual(
    bySteps.map(({ step }) => step),
    [2, 4, 5],
  );
  for (const line of bySteps) {
    t.is(line.eval, true);
    t.true(Number.isFinite(line.loss) && line.density > 0 && line.density < 1);
  }
  const byEpochs = await evaluated('--eval-epochs', '--epochs', 2, '--batch-size', 40);
  t.deepEqual(
    byEpochs.map(({ step }) => step),
    [2, 4],
  );
  t.is((await evaluated('--epochs', 0.5, '--batch-size', 20)).at(-1)?.step, 2);
});

test('warm-up by steps and by share, linear and constant schedules', async (t) => {
  const folder = temporaryFolder(t);
  const { args } = fixtureRun(folder, 'relu');
  const rates = async (name: string, ...extra: (string | number)[]): Promise<number[]> => {
    const log = join(folder, `${name}.jsonl`);
    await runDeftune(t, [...args, '--max-steps', 8, '--lr', 0.8, ...extra, '--log', log, '--out', join(folder, name)]);
    return readLines<Step>(log).map(({ lr }) => Math.round(lr * 1e6) / 1e6);
  };
  // transformers' get_linear_schedule_with_warmup and get_constant_schedule_with_warmup.
  const linear = [0, 0.4, 0.8, 0.666667, 0.533333, 0.4, 0.266667, 0.133333];
  t.deepEqual(await rates('a', '--warmup', 2), linear);
  t.deepEqual(await rates('b', '--warmup', 0.25), linear);
  t.deepEqual(await rates('c', '--scheduler', 'constant'), Array<number>(8).fill(0.8));
  t.deepEqual(await rates('d', '--scheduler', 'constant', '--warmup', 4), [0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8]);
  t.deepEqual(await rates('e'), [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]);
});

test('a seed repeats a run, another shuffles otherwise; threads change no bit', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const losses = async (name: string, ...extra: (string | number)[]): Promise<number[]> => {
    const log = join(folder, `${name}.jsonl`);
    const fixed = ['--train-file', records, '--max-steps', 12, '--batch-size', 16, '--dropout', 0.1];
    await runDeftune(t, ['train', '--model', model, ...fixed, '--out', join(folder, name), '--log', log, ...extra]);
    return readLines<Step>(log).map(({ loss }) => loss);
  };
  const [first, again, one, other, ordered] = await Promise.all([
    losses('first', '--seed', 3),
    losses('again', '--seed', 3),
    losses('one', '--seed', 3, '--threads', 1),
    losses('other', '--seed', 4),
    losses('ordered', '--seed', 3, '--no-shuffle'),
  ]);
  t.deepEqual(again, first);
  t.deepEqual(one, first);
  t.notDeepEqual(other, first);
  t.notDeepEqual(ordered, first);
});

test('--dropout overrides the model’s', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const dropping = modelWith(folder, 'relu', {
    hidden_dropout_prob: 0.5,
    attention_probs_dropout_prob: 0.5,
    classifier_dropout: null,
  });
  const { args, log } = fixtureRun(folder, 'relu');
  const losses = async (path: string, ...extra: (string | number)[]): Promise<number[]> => {
    const own = args.with(args.indexOf('--model') + 1, path);
    await runDeftune(t, [...own, '--max-steps', 2, '--lr', 0, ...extra]);
    return readLines<Step>(log).map(({ loss }) => loss);
  };
  const known = expected.training['none']?.steps[0]?.loss ?? Number.NaN;
  const off = await losses(dropping, '--dropout', 0);
  isClose(t, off[0] ?? Number.NaN, known, 1e-4, 'loss without dropout');
  const on = await losses(model, '--dropout', 0.5);
  t.true(Math.abs((on[0] ?? 0) - known) > 1e-3);
  t.deepEqual(await losses(dropping), on);
});

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

test('records as JSONL, CSV and TSV with numbers or names for labels train alike', async (t) => {
  const folder = temporaryFolder(t);
  const texts = ['good film', 'bad film', 'fine, really', 'so dull'];
  const names = ['positive', 'negative', 'positive', 'negative'];
  const numbers = [1, 0, 1, 0];
  const csv = (text: string): string => `"${text}"`;
  const files = {
    'numbers.jsonl': texts.map((text, i) => JSON.stringify({ text, label: numbers[i] })),
    'names.jsonl': texts.map((sentence, i) => JSON.stringify({ sentence, label: names[i] })),
    'numbers.csv': ['text,label', ...texts.map((text, i) => `${csv(text)},${numbers[i]}`)],
    'names.tsv': ['label\tsentence', ...texts.map((text, i) => `${names[i]}\t${text}`)],
    'pairs.tsv': ['sentence\tsentence2\tlabel', ...texts.map((text, i) => `${text}\tyes\t${names[i]}`)],
  };
  const results: Record<string, number[]> = {};
  for (const [name, lines] of Object.entries(files)) {
    const file = join(folder, name);
    writeFileSync(file, lines.join('\n'));
    const log = join(folder, 'log.jsonl');
    const args = [
      '--train-file',
      file,
      '--valid-file',
      file,
      '--max-steps',
      2,
      '--out',
      join(folder, 'out'),
      '--log',
      log,
    ];
    await runDeftune(t, ['train', '--model', bundled.model, ...args]);
    results[name] = readLines<Step>(log).map(({ loss }) => loss);
  }
  for (const name of ['names.jsonl', 'numbers.csv', 'names.tsv'])
    t.deepEqual(results[name], results['numbers.jsonl'], name);
  t.notDeepEqual(results['pairs.tsv'], results['numbers.jsonl']);
  const sidecar = JSON.parse(readFileSync(join(folder, 'out/deftune.json'), 'utf8')) as { labelNames: string[] };
  t.deepEqual(sidecar.labelNames, ['negative', 'positive']);
});

test('--task reads a benchmark’s folder', async (t) => {
  const folder = temporaryFolder(t);
  for (const [name, part] of [
    ['train.tsv', bundled.train],
    ['dev.tsv', bundled.valid],
  ] as const) {
    writeFileSync(join(folder, name), readFileSync(part, 'utf8').split('\n').slice(0, 9).join('\n'));
  }
  const out = join(folder, 'out');
  const task = ['--task', 'sst2', '--data', folder];
  const result = await runJson(t, ['train', '--model', bundled.model, ...task, '--max-steps', 1, '--out', out]);
  t.like(result, { trainExamples: 8, validExamples: 8 });
  const evaluated = await runJson(t, ['eval', '--model', bundled.model, '--adapter', out, ...task]);
  t.is(evaluated['accuracy'], (result['evaluation'] as Record<string, number>)['accuracy']);
});

test('the summary says what was cut, and warns of a constant answer, naming alpha', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  // This model answers 0 to every one of them, and two are of the full length: a token more has to be cut.
  const records = writeLines(
    join(folder, 'records.jsonl'),
    [0, 1, 1, 2].map((row, index) => {
      const ids = expected.batch.inputIds[row] ?? [];
      return { inputIds: ids.length === 24 ? [...ids, 1] : ids, label: index % 2 };
    }),
  );
  const args = [
    '--train-file',
    records,
    '--valid-file',
    records,
    '--max-steps',
    1,
    '--lr',
    0,
    '--out',
    join(folder, 'out'),
  ];
  const { stderr } = await runDeftune(t, ['train', '--model', model, ...args, '--density', 'tanh']);
  t.regex(stderr, /warning: 2 training texts were longer than 24 tokens and were cut/);
  t.regex(stderr, /warning: 2 validation texts were longer/);
  t.regex(stderr, /warning: the predictions have collapsed to one class; .*alpha/);
  const json = await runJson(t, ['train', '--model', model, ...args, '--density', 'tanh']);
  t.is((json['warnings'] as string[]).length, 3);
  t.regex(String(json['density']), /tanh, feature map, alpha 0\.05, beta 20/);
});

test('without a terminal, progress is a few plain lines', async (t) => {
  const folder = temporaryFolder(t);
  const { args } = fixtureRun(folder, 'relu');
  const { stderr, stdout } = await runDeftune(t, [...args, '--max-steps', 300]);
  const lines = stderr.trimEnd().split('\n');
  t.is(lines.length, 10);
  for (const line of lines) t.regex(line, /^PEFT \d+\/300 {2}loss \S+ {2}density \S+ % {2}\S+ tokens\/s/);
  t.notRegex(stderr + stdout, /[\r\u001b]/);
  t.regex(stdout, /^LoRA r 3, alpha 5 on query, value; trainable params: .*\n300 steps in .*\n.*\nadapter: .*\n$/);
});

test('--density makes a run sparser than plain PEFT', async (t) => {
  const folder = temporaryFolder(t);
  const densities = await Promise.all(
    [[], ['--density', 'tanh', '--alpha', 1]].map(async (extra, index) => {
      const { model, expected } = fixture('relu');
      const records = writeLines(join(folder, `${index}.jsonl`), recordsOf(expected.training.batches));
      const data = ['--train-file', records, '--valid-file', records, '--max-steps', 60, '--lr', 0.01];
      const out = join(folder, `out-${index}`);
      const result = await runJson(t, ['train', '--model', model, ...data, '--out', out, ...extra]);
      return (result['evaluation'] as Record<string, number>)['density'] ?? Number.NaN;
    }),
  );
  t.true((densities[1] ?? 1) < 0.8 * (densities[0] ?? 0), densities.join(' '));
});
