// predict, eval, density and train for T5 against transformers; and what they and generate refuse.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { fixture as bert } from './fixtures.js';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';
import { recordsOf, speaking, t5, type Step } from './tiny-t5.js';

for (const variant of ['relu', 'gated']) {
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
