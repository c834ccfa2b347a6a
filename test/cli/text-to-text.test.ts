// The commands for T5, and `deftune generate`, on the checkpoints of test/fixtures.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { fixture as bert } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface Step {
  loss: number;
  taskLoss: number;
  densityLoss: number;
  gradNorm: number;
}
interface Records {
  inputIds: number[][];
  labelIds: number[][];
}
interface Expected {
  batch: Records;
  baseLoss: number;
  baseLosses: Record<string, number>;
  density: Record<'encoder' | 'decoder', { mean: number }>;
  training: { alpha: number; batches: Records[] } & Record<string, Step[]>;
  generation: { maxNewTokens: number; prompts: number[][]; byBeams: Record<string, number[][]>; adapted: number[][] };
}

const root = fileURLToPath(new URL('../fixtures/', import.meta.url));

function t5(variant: string): { model: string; adapter: string; expected: Expected } {
  const folder = join(root, 't5', variant);
  const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected;
  return { model: join(folder, 'model'), adapter: join(folder, 'adapter'), expected };
}

const recordsOf = ({ inputIds, labelIds }: Records): object[] =>
  inputIds.map((ids, index) => ({ inputIds: ids, labelIds: labelIds[index] }));

const WORDS = [
  ...[
    '<pad>',
    '</s>',
    '<unk>',
    'sst2',
    'sentence:',
    'positive',
    'negative',
    'question:',
    'context:',
    'who',
    'won',
    'lost',
  ],
  ...[
    'ann',
    'bob',
    'cy',
    'a',
    'fine',
    'lovely',
    'dull',
    'poor',
    'film',
    'story',
    'is',
    'it',
    'the',
    'race',
    'and',
    '1',
    '0',
  ],
];

/** A tiny T5 whose tokenizer knows {@link WORDS}, and changes to its config. */
function speaking(t: ExecutionContext, config: Record<string, unknown> = {}): string {
  const folder = join(temporaryFolder(t), 'model');
  cpSync(t5('relu').model, folder, { recursive: true });
  const path = join(folder, 'config.json');
  const own = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...own, ...config }));
  writeFileSync(
    join(folder, 'generation_config.json'),
    JSON.stringify({ decoder_start_token_id: 0, eos_token_id: 1, pad_token_id: 0 }),
  );
  const special = ['<pad>', '</s>', '<unk>'].map((content, id) => ({
    ...{ id, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }));
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({
      version: '1.0',
      added_tokens: special,
      normalizer: { type: 'Lowercase' },
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
        pair: [
          { Sequence: { id: 'A', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
          { Sequence: { id: 'B', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
        ],
        special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
      },
      model: { type: 'WordLevel', unk_token: '<unk>', vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])) },
    }),
  );
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ eos_token: '</s>', pad_token: '<pad>', unk_token: '<unk>', model_max_length: 12 }),
  );
  return folder;
}

const SENTENCES: readonly (readonly [sentence: string, label: number])[] = [
  ['a fine film', 1],
  ['a dull film', 0],
  ['the story is lovely', 1],
  ['the story is poor', 0],
  ['it is lovely', 1],
  ['it is dull', 0],
  ['a lovely story', 1],
  ['a poor story', 0],
];
const FULL = ['--method', 'full', '--lr', '3e-3', '--batch-size', '8', '--max-steps', '60', '--dropout', '0'];

for (const variant of ['relu', 'gated']) {
  onBothBackends(`${variant}: generate writes transformers' tokens, greedy and with beams`, async (t, backend) => {
    const { model, adapter, expected } = t5(variant);
    const { maxNewTokens, prompts, byBeams, adapted } = expected.generation;
    const folder = temporaryFolder(t);
    const input = writeLines(
      join(folder, 'in.jsonl'),
      prompts.map((inputIds) => ({ inputIds })),
    );
    const output = join(folder, 'out.jsonl');
    const common = ['--backend', backend, '--model', model, '--input', input, '--output', output];
    const args = ['generate', ...common, '--max-new-tokens', maxNewTokens];
    const written = (): unknown[] => readLines(output);
    await runDeftune(t, args);
    // Without a tokenizer there is no text.
    t.deepEqual(
      written(),
      byBeams['1']?.map((outputIds) => ({ outputIds })),
    );
    await runDeftune(t, [...args, '--num-beams', 4, '--batch-size', 2]);
    t.deepEqual(
      written(),
      byBeams['4']?.map((outputIds) => ({ outputIds })),
    );
    await runDeftune(t, [...args, '--num-beams', 3, '--adapter', adapter]);
    t.deepEqual(
      written(),
      adapted.map((outputIds) => ({ outputIds })),
    );
  });

  test(`${variant}: predict, eval and density say what transformers says`, async (t) => {
    const { model, expected } = t5(variant);
    const folder = temporaryFolder(t);
    const records = writeLines(join(folder, 'in.jsonl'), recordsOf(expected.batch));
    const output = join(folder, 'out.jsonl');
    const { density, encoderDensity, decoderDensity } = await runJson(t, [
      ...['predict', '--model', model, '--input', records, '--output', output],
    ]);
    const { encoder, decoder } = expected.density;
    t.true(Math.abs((encoderDensity as number) - encoder.mean) < 1e-6);
    t.true(Math.abs((decoderDensity as number) - decoder.mean) < 1e-6);
    const lines = readLines<{ loss: number }>(output);
    t.is(lines.length, expected.batch.inputIds.length);
    lines.forEach((line) => t.deepEqual(Object.keys(line), ['loss']));
    for (const [index, loss] of Object.entries(expected.baseLosses)) {
      t.true(Math.abs((lines[Number(index)]?.loss ?? NaN) - loss) < 1e-4);
    }
    const scored = await runJson(t, ['eval', '--model', model, '--valid-file', records]);
    t.true(Math.abs((scored['loss'] as number) - expected.baseLoss) < 1e-4);
    t.deepEqual(
      [scored['density'], scored['encoderDensity'], scored['decoderDensity']],
      [density, encoderDensity, decoderDensity],
    );
    const layers = await runDeftune(t, ['density', '--model', model, '--input', records]);
    for (const row of ['encoder.block.0', 'decoder.block.0', 'encoder ', 'decoder ', 'mean']) {
      t.true(layers.stdout.includes(`│ ${row}`), row);
    }
  });

  test(`${variant}: train logs PyTorch's steps, and the densities of both sides`, async (t) => {
    const { model, adapter, expected } = t5(variant);
    const folder = temporaryFolder(t);
    const records = writeLines(join(folder, 'in.jsonl'), expected.training.batches.flatMap(recordsOf));
    const log = join(folder, 'log.jsonl');
    await runDeftune(t, [
      ...['train', '--model', model, '--adapter', adapter, '--train-file', records, '--out', join(folder, 'out')],
      ...['--batch-size', 3, '--max-steps', 10, '--warmup', 2, '--weight-decay', 0.01, '--no-shuffle', '--log', log],
      ...['--density', 'l0', '--density-form', 'element', '--eps', 1e-2, '--alpha', expected.training.alpha],
    ]);
    const steps = readLines<Step & { encoderDensity: number; decoderDensity: number }>(log);
    const wanted = expected.training['element'] as Step[];
    t.is(steps.length, wanted.length);
    wanted.forEach((step, index) => {
      const found = steps[index];
      for (const key of ['loss', 'taskLoss', 'densityLoss', 'gradNorm'] as const) {
        t.true(Math.abs((found?.[key] ?? NaN) - step[key]) <= 1e-4 * step[key], `step ${index + 1}: ${key}`);
      }
      t.true((found?.encoderDensity ?? 0) > 0 && (found?.decoderDensity ?? 0) > 0);
    });
  });
}

test('sst2 as text to text: trained until it answers right, judged by what it writes', async (t) => {
  const model = speaking(t);
  const data = temporaryFolder(t);
  const table = ['sentence\tlabel', ...SENTENCES.map((row) => row.join('\t'))].join('\n');
  for (const name of ['train.tsv', 'dev.tsv']) writeFileSync(join(data, name), `${table}\n`);
  const out = join(data, 'out');
  const task = ['--task', 'sst2', '--data', data];
  const before = await runJson(t, ['eval', '--model', model, ...task]);
  t.true((before['accuracy'] as number) < 0.9);
  const { evaluation } = await runJson(t, ['train', '--model', model, ...task, '--out', out, ...FULL]);
  t.is((evaluation as Record<string, number>)['accuracy'], 1);
  const scored = await runJson(t, ['eval', '--model', out, ...task]);
  t.is(scored['accuracy'], 1);
  // The prompt and the target are T5's.
  const input = writeLines(
    join(data, 'in.jsonl'),
    SENTENCES.map(([sentence]) => ({ text: `sst2 sentence: ${sentence}` })),
  );
  const output = join(data, 'out.jsonl');
  await runDeftune(t, ['generate', '--model', out, '--input', input, '--output', output, '--max-new-tokens', 5]);
  t.deepEqual(
    readLines(output),
    SENTENCES.map(([, label]) => ({ outputIds: [label ? 5 : 6, 1], text: label ? 'positive' : 'negative' })),
  );
});

test('questions as text to text: exact match and F1 of what is written', async (t) => {
  const model = speaking(t);
  const folder = temporaryFolder(t);
  const names = ['ann', 'bob', 'cy'];
  const records = names.flatMap((winner) =>
    names
      .filter((loser) => loser !== winner)
      .flatMap((loser) => [
        { question: 'who won', context: `${winner} won and ${loser} lost`, answers: ['someone else', winner] },
        { question: 'who lost', context: `${winner} won and ${loser} lost`, answers: [loser] },
      ]),
  );
  // The first answer is what is taught.
  const file = writeLines(
    join(folder, 'in.jsonl'),
    records.map(({ answers, ...record }) => ({ ...record, answers: [...answers].reverse() })),
  );
  const [out, args] = [join(folder, 'out'), FULL.map((arg) => (arg === '60' ? '400' : arg))];
  const { evaluation } = await runJson(t, [
    ...['train', '--model', model, '--train-file', file, '--valid-file', file, '--out', out, ...args],
  ]);
  const { answerF1, exactMatch } = evaluation as Record<string, number>;
  t.true((answerF1 as number) >= 0.9, `F1 ${answerF1}`);
  t.true((exactMatch as number) >= 0.9 && (exactMatch as number) <= (answerF1 as number));
  const output = join(folder, 'out.jsonl');
  await runDeftune(t, ['generate', '--model', out, '--input', file, '--output', output, '--max-new-tokens', 4]);
  const right = readLines<{ text: string }>(output).filter(({ text }, index) => records[index]?.answers.includes(text));
  t.is(right.length / records.length, exactMatch as number);
});

test('compare tells the encoder from the decoder', async (t) => {
  const folder = temporaryFolder(t);
  const data = temporaryFolder(t);
  const table = ['sentence\tlabel', ...SENTENCES.map((row) => row.join('\t'))].join('\n');
  for (const name of ['train.tsv', 'dev.tsv']) writeFileSync(join(data, name), `${table}\n`);
  const { stdout } = await runDeftune(t, [
    ...['compare', '--model', speaking(t), '--task', 'sst2', '--data', data, '--seeds', '0', '--max-steps', 6],
    ...['--batch-size', 4, '--lr', 1e-2, '--alpha', 1, '--out', folder],
  ]);
  t.regex(stdout, /accuracy %.*density %.*encoder %.*decoder %/);
});

test('texts are cut to what the tokenizer was made for, ids are not', async (t) => {
  const model = speaking(t);
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')];
  const long = 'a fine film and a fine film and a fine film and';
  writeLines(input, [{ text: long }, { inputIds: WORDS.map((_, id) => id) }]);
  const { stderr } = await runDeftune(t, [
    ...['generate', '--model', model, '--input', input, '--output', output, '--max-new-tokens', 2],
  ]);
  t.regex(stderr, /1 text was longer than 12 tokens and was cut/);
  t.is(readLines(output).length, 2);
});

test('sampling: the seed decides', async (t) => {
  const { model, expected } = t5('gated');
  const folder = temporaryFolder(t);
  const input = writeLines(
    join(folder, 'in.jsonl'),
    expected.generation.prompts.map((inputIds) => ({ inputIds })),
  );
  const sample = async (...options: (string | number)[]): Promise<unknown[]> => {
    const output = join(folder, 'out.jsonl');
    const args = ['generate', '--model', model, '--input', input, '--output', output, '--max-new-tokens', 9];
    await runDeftune(t, [...args, ...options]);
    return readLines(output);
  };
  const first = await sample('--temperature', 2, '--seed', 1);
  t.deepEqual(await sample('--temperature', 2, '--seed', 1, '--batch-size', 2), first);
  t.notDeepEqual(await sample('--temperature', 2, '--seed', 2), first);
  t.deepEqual(await sample('--top-k', 1), await sample());
});

test('bad input is refused in one line', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = t5('relu');
  const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')];
  const refused = async (args: readonly (string | number)[], message: RegExp): Promise<void> => {
    const { stderr } = await runDeftune(t, args, { code: 1 });
    t.regex(stderr, message);
    t.is(stderr.trim().split('\n').length, 1, stderr);
  };
  const generating = ['generate', '--model', model, '--input', input, '--output', output];
  writeLines(input, [{ inputIds: [3] }, { inputIds: [57] }]);
  await refused(generating, /in\.jsonl:2: inputIds has the token id 57, expected 0 to 56/);
  writeLines(input, [{ inputIds: [3] }]);
  await refused([...generating, '--num-beams', 2, '--temperature', 0.5], /numBeams is 2, expected 1/);
  await refused([...generating, '--max-new-tokens', 0], /maxNewTokens/);
  writeLines(input, [{ text: 'a film' }]);
  await refused(generating, /in\.jsonl:1: text needs a tokenizer/);
  writeLines(input, [{ inputIds: [3], labelIds: [4] }, { inputIds: [3] }]);
  await refused(
    ['predict', '--model', model, '--input', input, '--output', output],
    /in\.jsonl:2: labelIds is missing/,
  );
  writeLines(input, [{ inputIds: [3], labelIds: [99] }]);
  await refused(
    ['train', '--model', model, '--train-file', input, '--out', join(folder, 'out')],
    /in\.jsonl:1: labelIds has the token id 99/,
  );
  writeLines(input, [{ inputIds: [3], labelIds: [4] }]);
  const mute = ['--input', input, '--output', output, '--model'];
  const noStart = speaking(t, { decoder_start_token_id: null });
  writeFileSync(join(noStart, 'generation_config.json'), JSON.stringify({ eos_token_id: 1 }));
  for (const command of ['predict', 'generate']) {
    await refused([command, ...mute, noStart], /config\.json: decoder_start_token_id is missing, expected/);
  }
  await refused(['generate', ...mute, bert('relu').model], /SequenceClassification/);
  await refused(
    ['predict', ...mute, speaking(t, { num_decoder_layers: 3 })],
    /does not fit its config\.json: decoder\.block\.2\.layer\.0.*is missing/,
  );
  await refused(
    ['predict', ...mute, speaking(t, { feed_forward_proj: 'gated-foo' })],
    /feed_forward_proj is "gated-foo", expected one of relu/,
  );
});
