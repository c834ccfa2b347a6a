// Generation against transformers with GPT-2, ragged prompts in batches; see test/fixtures/make_generation.py.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { DeftuneError } from '../../ts/error.js';
import { generate, type GenerateOptions } from '../../ts/generation/generate.js';
import { sampler } from '../../ts/generation/sampler.js';
import { AutoModelForCausalLM, AutoModelForSequenceClassification } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import { onEachBackend } from '../backend/on-each-backend.js';

interface Fixture {
  scales: Record<string, number>;
  maxNewTokens: number;
  prompts: number[][];
  runs: { eosTokenIds: number[]; numBeams: number; tokens: number[][] }[];
  /** Rows of the embedding that are copies of others: [to, from]. */
  twins: [number[], number[]];
  ties: number[][];
  sampling: { logits: number[]; temperature: number; topK: number; topP: number; probabilities: number[] }[];
}

const file = (path: string): string => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const fixture = JSON.parse(readFileSync(file('generation.json'), 'utf8')) as Fixture;
const { prompts, maxNewTokens } = fixture;

/** The tiny GPT-2 as the fixture's script changes it. */
async function openLively(backend: Backend): Promise<Model> {
  const model = await AutoModelForCausalLM.fromPretrained(file('gpt2/model'), { backend });
  for (const [name, parameter] of model.namedParameters()) {
    const factor = Object.entries(fixture.scales).find(([ending]) => name.endsWith(ending))?.[1];
    if (factor !== undefined)
      backend.writeF32(
        parameter.handle,
        parameter.toFloats().map((value) => value * factor),
      );
  }
  return model;
}

onEachBackend("greedy and beam search give transformers' tokens", async (t, backend) => {
  const model = await openLively(backend);
  const before = backend.liveTensors();
  for (const { eosTokenIds, numBeams, tokens } of fixture.runs) {
    for (const batchSize of [1, 2, 16]) {
      const found = await generate(model, prompts, { maxNewTokens, numBeams, eosTokenIds, batchSize });
      t.deepEqual(found, tokens, `${numBeams} beams, ends ${eosTokenIds.join()}, ${batchSize} prompts a batch`);
    }
  }
  // Caches included.
  t.is(backend.liveTensors(), before);
});

onEachBackend('of equal logits the first is taken', async (t, backend) => {
  const model = await openLively(backend);
  const table = [...model.namedParameters()].find(([name]) => name.endsWith('wte.weight'))?.[1];
  if (!table) throw new Error('no embeddings');
  const values = table.toFloats();
  const [to, from] = fixture.twins;
  to.forEach((row, index) => {
    const source = (from[index] as number) * table.cols;
    values.copyWithin(row * table.cols, source, source + table.cols);
  });
  backend.writeF32(table.handle, values);
  t.deepEqual(await generate(model, prompts, { maxNewTokens, eosTokenIds: [28] }), fixture.ties);
});

onEachBackend('sampled texts depend on the seed and not on the batch', async (t, backend) => {
  const model = await openLively(backend);
  const write = (options: Partial<GenerateOptions>): Promise<number[][]> =>
    generate(model, prompts, { maxNewTokens, temperature: 1.5, ...options });
  const texts = await write({ seed: 3 });
  t.deepEqual(await write({ seed: 3, batchSize: 2 }), texts);
  t.notDeepEqual(await write({ seed: 4 }), texts);
  // The likeliest token alone is what greedy decoding takes.
  t.deepEqual(await write({ topK: 1 }), await generate(model, prompts, { maxNewTokens }));
});

test("sampling draws from transformers' tokens with its probabilities", (t) => {
  for (const { logits, probabilities, ...options } of fixture.sampling) {
    const draw = sampler(options, [7, 1]);
    const counts = new Array<number>(logits.length).fill(0);
    const draws = 20_000;
    for (let i = 0; i < draws; i++) (counts[draw(Float32Array.from(logits))] as number) += 1;
    probabilities.forEach((probability, token) => {
      const count = counts[token] as number;
      if (probability === 0) t.is(count, 0, `${JSON.stringify(options)}, token ${token}`);
      // Five standard deviations of the count.
      const most = 5 * Math.sqrt(draws * probability * (1 - probability)) + 1e-9;
      t.true(Math.abs(count - draws * probability) <= most, `${JSON.stringify(options)}, token ${token}: ${count}`);
    });
  }
});

onEachBackend('what cannot be done is refused in one line', async (t, backend) => {
  const model = await openLively(backend);
  const refused = async (given: readonly number[][], options: GenerateOptions, message: RegExp): Promise<void> => {
    const error = await t.throwsAsync(generate(model, given, options), { instanceOf: DeftuneError });
    t.regex(error.message, message);
    t.notRegex(error.message, /\n/);
  };
  const before = backend.liveTensors();
  await refused([[]], { maxNewTokens: 1 }, /prompt 0 is empty/);
  await refused([[1], [57]], { maxNewTokens: 1 }, /prompt 1 has the token id 57, expected 0 to 56/);
  await refused([[1, 2]], { maxNewTokens: 25 }, /prompt 0 has 2 tokens and 25 are to follow, expected at most 26/);
  await refused([[1]], { maxNewTokens: 0 }, /maxNewTokens/);
  await refused([[1]], { maxNewTokens: 1, temperature: 0 }, /temperature/);
  await refused([[1]], { maxNewTokens: 1, topP: 1.5 }, /topP/);
  await refused([[1]], { maxNewTokens: 1, numBeams: 2, topK: 4 }, /numBeams is 2, expected 1 with temperature/);
  t.is(backend.liveTensors(), before);
  // As many as the positions hold: the last token is not read.
  t.is((await generate(model, [[1]], { maxNewTokens: 25 }))[0]?.length, 25);
  const classifier = await AutoModelForSequenceClassification.fromPretrained(file('gpt2/model'), { backend });
  await t.throwsAsync(generate(classifier, [[1]], { maxNewTokens: 1 }), {
    message: /SequenceClassification.*CausalLM/,
  });
});

onEachBackend('weights that are not numbers are reported, and nothing is left behind', async (t, backend) => {
  const model = await openLively(backend);
  const [, parameter] = [...model.namedParameters()][0] ?? [];
  if (!parameter) throw new Error('no parameters');
  backend.writeF32(parameter.handle, parameter.toFloats().fill(NaN));
  const before = backend.liveTensors();
  await t.throwsAsync(generate(model, [[1, 2]], { maxNewTokens: 3 }), {
    message: /prompt 0: the logits are not finite/,
  });
  t.is(backend.liveTensors(), before);
});
