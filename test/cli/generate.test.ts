// `generate`: token for token as transformers, cut texts, and sampling.
import { join } from 'node:path';
import test from 'ava';
import { onBothBackends, readLines, runDeftune, temporaryFolder, writeLines } from './run-deftune.js';
import { WORDS, speaking, t5 } from './tiny-t5.js';

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
}

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
