import { z } from 'zod';
import { noGrad } from '../autograd/node.js';
import { batchIndices } from '../data/batching.js';
import { DeftuneError } from '../error.js';
import { argmax } from '../heads/softmax.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import type { Decoding } from '../models/decoding.js';
import type { Model } from '../models/model.js';
import { freezeWeights } from '../nn/freeze-weights.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { yieldToEvents } from '../tensor/yield-to-events.js';
import { BeamSearch } from './beam-search.js';
import { sampler } from './sampler.js';
import type { Search } from './search.js';
import { SingleSearch } from './single-search.js';

/** Settings of generation, named as in transformers. Without any but the first it is greedy. */
export interface GenerateOptions {
  /** Most tokens to generate, from 1. */
  maxNewTokens: number;
  /** Beams of a beam search; default 1: none. Not with sampling. */
  numBeams?: number | undefined;
  /** Any of temperature, topK and topP asks for sampling. Above 0; default 1. */
  temperature?: number | undefined;
  /** Draw from so many of the likeliest tokens only, 0: from all; default 50, as there. */
  topK?: number | undefined;
  /** Draw from the likeliest tokens only, which together have this probability, above 0 to 1; default 1. */
  topP?: number | undefined;
  /** Of sampling: a prompt's text depends on it and the prompt's number alone; default 0. */
  seed?: number | undefined;
  /** Tokens that end a text; default: the model's. */
  eosTokenIds?: readonly number[] | undefined;
  /** Prompts a batch; default 16. */
  batchSize?: number | undefined;
  /** Told after each batch how many prompts are done. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

const schema = z.strictObject({
  maxNewTokens: z.int().min(1).max(1_000_000),
  numBeams: z.int().min(1).max(1024).default(1),
  temperature: z.number().positive().optional(),
  topK: z.int().min(0).optional(),
  topP: z.number().positive().max(1).optional(),
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  eosTokenIds: z.array(z.int()).optional(),
  batchSize: z.int().min(1).max(65_536).default(16),
});

/**
 * Writes on after prompts: greedily, by beam search, or by sampling.
 *
 * @param prompts token ids, at least one each; of the encoder where the model has one
 * @returns by prompt the new tokens only, with the end token where it came
 * @throws DeftuneError where the model writes no text, an option is out of range, or a prompt does not fit.
 */
export async function generate(
  model: Model,
  prompts: readonly ArrayLike<number>[],
  { onProgress, ...options }: GenerateOptions,
): Promise<number[][]> {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const { batchSize, ...settings } = validate(schema, given, 'generation');
  checkPrompts(model, prompts, settings.maxNewTokens);
  freezeWeights(model, model.precision);
  const newSearch = searches(model, settings);
  const tokens: number[][] = [];
  for (const indices of batchIndices(prompts.length, batchSize)) {
    const batch = indices.map((index) => prompts[index] as ArrayLike<number>);
    const found = indices.map(newSearch);
    await run(model, batch, found, tokens.length);
    tokens.push(...found.map((search) => [...search.tokens]));
    onProgress?.(tokens.length, prompts.length);
  }
  return tokens;
}

/** What makes the search of each prompt, by its number. */
function searches(
  { info }: Model,
  { maxNewTokens, numBeams, temperature, topK, topP, seed, eosTokenIds }: Omit<z.infer<typeof schema>, 'batchSize'>,
): (prompt: number) => Search {
  const limits = { maxNewTokens, eosTokenIds: eosTokenIds ?? info.eosTokenIds ?? [] };
  const samples = [temperature, topK, topP].some((setting) => setting !== undefined);
  if (samples && numBeams > 1) {
    throw new DeftuneError(`generation: numBeams is ${numBeams}, expected 1 with temperature, topK or topP (sampling)`);
  }
  if (numBeams > 1) return () => new BeamSearch(limits, numBeams);
  if (!samples) return () => new SingleSearch(limits, argmax);
  const sampling = { temperature: temperature ?? 1, topK: topK ?? 50, topP: topP ?? 1 };
  return (prompt) => new SingleSearch(limits, sampler(sampling, [seed, prompt]));
}

/** Runs the searches of a batch to their ends; those that ended leave it. */
async function run(
  model: Model,
  prompts: readonly ArrayLike<number>[],
  all: readonly Search[],
  firstPrompt: number,
): Promise<void> {
  const inScope = <T>(body: () => T): T => noGrad(() => scope(model.backend, body));
  const decoding = model.startDecoding?.(prompts) as Decoding;
  try {
    let logits = inScope(() => values(decoding.start()));
    // Each search with the first row of its sequences and their number.
    let active = all.map((search, index) => ({ search, start: index, count: 1, prompt: firstPrompt + index }));
    while (active.length > 0) {
      const origins: number[] = [];
      const tokens: number[] = [];
      active = active.flatMap(({ search, start, count, prompt }) => {
        const rows = logits.slice(start, start + count);
        if (rows.some((row) => !Number.isFinite(row[argmax(row)]))) throw notFinite(prompt);
        const next = search.advance(rows);
        if (next.length === 0) return [];
        const entry = { search, start: origins.length, count: next.length, prompt };
        origins.push(...next.map(({ origin }) => start + origin));
        tokens.push(...next.map(({ token }) => token));
        return [entry];
      });
      await yieldToEvents();
      if (active.length === 0) return;
      logits = inScope(() => {
        decoding.select(origins);
        return values(decoding.step(tokens));
      });
    }
  } finally {
    decoding.dispose();
  }
}

function values(logits: Tensor): Float32Array[] {
  const all = logits.toFloats();
  return Array.from({ length: logits.rows }, (_, row) => all.subarray(row * logits.cols, (row + 1) * logits.cols));
}

function checkPrompts(
  { info, head, startDecoding }: Model,
  prompts: readonly ArrayLike<number>[],
  maxNewTokens: number,
): void {
  if (!startDecoding) {
    throw new DeftuneError(`the model has the head ${head.name}, expected one that writes text, e.g. CausalLM`);
  }
  // The last token is not read again.
  const behind = info.decoderStartTokenId === undefined ? maxNewTokens - 1 : 0;
  prompts.forEach((ids, index) => {
    if (ids.length === 0) throw new DeftuneError(`prompt ${index} is empty, expected at least 1 token`);
    if (ids.length + behind > info.maxLength) {
      throw new DeftuneError(
        `prompt ${index} has ${ids.length} tokens and ${maxNewTokens} are to follow, expected at most ${info.maxLength + Math.sign(behind)} together, the positions of the model`,
      );
    }
    const bad = Array.from(ids).find((id) => !Number.isInteger(id) || id < 0 || id >= info.vocabSize);
    if (bad !== undefined) {
      throw new DeftuneError(`prompt ${index} has the token id ${showValue(bad)}, expected 0 to ${info.vocabSize - 1}`);
    }
  });
}

function notFinite(prompt: number): DeftuneError {
  return new DeftuneError(
    `prompt ${prompt}: the logits are not finite; the weights of the model or adapter are not usable`,
  );
}
