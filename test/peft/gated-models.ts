// Models of every family to put gates on, and what they answer.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import { Rng } from '../../ts/data/rng.js';
import { AutoModel, type FromPretrainedOptions } from '../../ts/models/auto-model-node.js';
import type { Model } from '../../ts/models/model.js';
import { mlpBlocks } from '../../ts/nn/mlp-block.js';
import type { PeftModel, PeftOptions } from '../../ts/peft/peft-model.js';
import { predict } from '../../ts/train/evaluate.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));

const ids = (rng: Rng, length: number): number[] =>
  Array.from({ length: length - rng.nextBelow(4) }, () => 3 + rng.nextBelow(30));

/** Every family: its folder among the fixtures, its head, an example. */
export const FAMILIES: Readonly<Record<string, [folder: string, head: string, example: (rng: Rng) => Example]>> = {
  BERT: ['bert/relu/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 12), label: rng.nextBelow(2) })],
  RoBERTa: ['roberta/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 12), label: rng.nextBelow(2) })],
  'GPT-2': ['gpt2/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 12), label: rng.nextBelow(2) })],
  T5: ['t5/relu/model', 'Seq2SeqLM', (rng) => ({ inputIds: ids(rng, 12), labelIds: ids(rng, 8) })],
  'T5 v1.1': ['t5/gated/model', 'Seq2SeqLM', (rng) => ({ inputIds: ids(rng, 12), labelIds: ids(rng, 8) })],
  ViT: [
    'vit/model',
    'ImageClassification',
    (rng) => ({
      inputIds: [],
      pixelValues: Float32Array.from({ length: 2 * 12 * 8 }, () => rng.nextFloat()),
      label: rng.nextBelow(2),
    }),
  ],
};
export const LORA: PeftOptions = { method: 'lora', r: 2, targetModules: 'all-linear', initLoraWeights: false };

export function directoryOf(family: string): string {
  return join(fixtures, (FAMILIES[family] as (typeof FAMILIES)[string])[0]);
}

export function open(backend: Backend, family: string, options: FromPretrainedOptions = {}): Promise<Model> {
  const [, head] = FAMILIES[family] as (typeof FAMILIES)[string];
  return AutoModel.fromPretrained(directoryOf(family), { backend, head, dropout: 0, ...options });
}

export function examplesFor(family: string, count = 6): Example[] {
  const rng = new Rng(11);
  return Array.from({ length: count }, () => (FAMILIES[family] as (typeof FAMILIES)[string])[2](rng));
}

/** Losses and logits of the examples. */
export async function outcome(model: Model, family: string): Promise<Float64Array> {
  const { outputs } = await predict(model, examplesFor(family));
  return Float64Array.from(outputs.flatMap(({ loss, logits }) => [loss, ...logits]));
}

/** Sets gates by layer number; those that are not said stay open. */
export function setGates({ base }: PeftModel, ...theta: number[]): void {
  for (const [index, { gate }] of mlpBlocks(base).entries()) {
    gate?.theta.writeStored(Float32Array.of(theta[index] ?? 1));
  }
}

export function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'deftune-gates-'));
  t.teardown(() => {
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

export function near(
  t: ExecutionContext,
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  t.is(found.length, expected.length);
  for (let index = 0; index < expected.length; index++) {
    const [mine, theirs] = [found[index] as number, expected[index] as number];
    t.true(Math.abs(mine - theirs) <= tolerance * Math.max(1, Math.abs(theirs)), `${mine}, expected ${theirs}`);
  }
}
