import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fixtures = fileURLToPath(new URL('../fixtures/bert/', import.meta.url));

/** A batch of the fixtures. */
export interface FixtureBatch {
  inputIds: number[][];
  tokenTypeIds: number[][];
  labels: number[];
}

/** A training step as PyTorch took it. */
export interface FixtureStep {
  /** From 0. */
  step: number;
  loss: number;
  taskLoss: number;
  densityLoss: number;
  density: number;
  gradNorm: number;
  lr: number;
}

/** The parts of an expected.json that these tests use. */
export interface Expected {
  batch: FixtureBatch;
  logits: number[][];
  baseLogits: number[][];
  numLabels: number;
  training: { alpha: number; batches: FixtureBatch[] } & Record<string, { steps: FixtureStep[] }>;
}

/** A tiny BERT with its adapter and what PyTorch computes with them. */
export interface Fixture {
  model: string;
  adapter: string;
  expected: Expected;
}

/** @param variant `relu`, `gelu`, `gelu_new`, `silu` (regression), `relu_f16` (shards) or `relu_bf16` */
export function fixture(variant: string): Fixture {
  const folder = join(fixtures, variant);
  return {
    model: join(folder, 'model'),
    adapter: join(folder, 'adapter'),
    expected: JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected,
  };
}

/** The bundled model, which has a tokenizer, and its sentences. */
export const bundled = {
  model: fileURLToPath(new URL('../../assets/bert-mini-relu', import.meta.url)),
  train: fileURLToPath(new URL('../../assets/sst2-sample/train.tsv', import.meta.url)),
  valid: fileURLToPath(new URL('../../assets/sst2-sample/valid.tsv', import.meta.url)),
};

/** Batches one after the other, as records. */
export function recordsOf(batches: readonly FixtureBatch[]): { inputIds: number[]; label: number }[] {
  return batches.flatMap(({ inputIds, labels }) =>
    inputIds.map((ids, index) => ({ inputIds: ids, label: labels[index] as number })),
  );
}

/** A copy of a fixture's model with fields of its config.json changed; undefined removes one. */
export function modelWith(folder: string, variant: string, config: Record<string, unknown>): string {
  const copy = join(folder, `model-${variant}`);
  cpSync(fixture(variant).model, copy, { recursive: true });
  const path = join(copy, 'config.json');
  const own = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...own, ...config }));
  return copy;
}
