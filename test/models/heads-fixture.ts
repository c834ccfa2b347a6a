import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Backend } from '../../ts/backend/backend.js';
import type { DataRecord } from '../../ts/data/record.js';
import { prepareExamples } from '../../ts/heads/prepare-examples.js';
import type { Example } from '../../ts/data/batching.js';
import { parseSafetensors, serializeSafetensors, type StoredTensor } from '../../ts/io/safetensors.js';
import { memoryFolder } from '../../ts/io/folder.js';
import { modelIn } from '../../ts/models/model-in-folder.js';
import type { Model } from '../../ts/models/model.js';

/** norm, largest absolute value, projections on cos(i) and cos(0.37 i + 1), six elements evenly spread (see heads.py). */
export type Digest = readonly number[];

/** What transformers computes with one head. */
export interface ExpectedHead {
  density: { perLayer: number[]; mean: number };
  /** Of each sequence; null where not stored. */
  logits: (number[][] | number[] | null)[];
  /** Of each sequence by itself; language models only. */
  losses?: (number | null)[];
  loss: number;
  full: ExpectedTraining;
  lora: ExpectedTraining;
}

/** What full or low-rank fine-tuning gives. */
export interface ExpectedTraining {
  loss: number;
  grads: Record<string, Digest>;
  /** Losses of ten steps. */
  steps: number[];
}

/** An expected.json of heads.py. */
export interface ExpectedFamily {
  data: {
    inputIds: number[][];
    classes: number[];
    values: number[];
    tokenClasses: number[][];
    spans: number[][];
    masked: number[][];
  };
  steps: number[][];
  training: { lr: number; warmup: number; weightDecay: number; maxGradNorm: number };
  heads: Record<string, ExpectedHead>;
  adapterLogits: number[][];
  withPads: { inputIds: number[][]; logits: number[][] };
  variants: Record<
    string,
    { head: string; config: Record<string, unknown>; logits: number[][]; density: { mean: number } }
  >;
}

export type Tensors = Map<string, StoredTensor>;

/** A family's files. */
export class FamilyFixture {
  readonly expected: ExpectedFamily;
  readonly config: Record<string, unknown>;
  readonly tensors: Tensors;
  readonly adapter: string;
  /** Folder of config.json and model.safetensors. */
  readonly model: string;

  /** @param base safetensors file of an encoder that the family's own file lacks */
  constructor(
    readonly name: string,
    base?: string,
  ) {
    this.expected = JSON.parse(readFileSync(path(`${name}/expected.json`), 'utf8')) as ExpectedFamily;
    this.config = JSON.parse(readFileSync(path(`${name}/model/config.json`), 'utf8')) as Record<string, unknown>;
    const read = (file: string): Tensors => parseSafetensors(new Uint8Array(readFileSync(path(file))), file).tensors;
    this.tensors = new Map([...(base === undefined ? [] : read(base)), ...read(`${name}/model/model.safetensors`)]);
    this.adapter = path(`${name}/adapter`);
    this.model = path(`${name}/model`);
  }

  /** Opens the model with a head of `expected.heads`; `regression` is the first row of the classifier. */
  open(backend: Backend, head: string, changes: Changes = {}): Model {
    const { config = {}, edit = (tensors) => tensors } = changes;
    const tensors = edit(head === 'regression' ? firstLabel(this.tensors) : this.tensors);
    const files = new Map<string, string | Uint8Array>([
      ['config.json', JSON.stringify({ ...this.config, ...config })],
      ['model.safetensors', serializeSafetensors(tensors)],
    ]);
    const options = { head: head === 'regression' ? 'SequenceClassification' : head, ...changes.options };
    return modelIn(memoryFolder(files), options)(backend);
  }

  /** The records of a head, labelled. */
  records(head: string): DataRecord[] {
    const { data } = this.expected;
    return data.inputIds.map((inputIds, index): DataRecord => {
      const record = { inputIds, line: index + 1 };
      if (head === 'SequenceClassification') return { ...record, label: data.classes[index] as number };
      if (head === 'regression') return { ...record, label: data.values[index] as number };
      if (head === 'TokenClassification') return { ...record, labels: data.tokenClasses[index] as number[] };
      if (head === 'QuestionAnswering') return { ...record, labelIds: data.spans[index] as number[] };
      if (head === 'MaskedLM') return { ...record, labelIds: data.masked[index] as number[] };
      return record;
    });
  }

  /** The same as examples of a model. */
  examples({ head, info }: Model, name: string): Example[] {
    const records = this.records(name);
    const labels = records.flatMap(({ label }) => (typeof label === 'number' ? [label] : []));
    return prepareExamples(records, { head, info, fileName: 'batch', labels }).examples;
  }
}

/** How a model is opened other than as it is stored. */
interface Changes {
  config?: Record<string, unknown>;
  edit?: (tensors: Tensors) => Tensors;
  options?: Record<string, unknown>;
}

const path = (file: string): string => fileURLToPath(new URL(`../fixtures/${file}`, import.meta.url));

/** The checkpoint with one label: the classifier's first row. */
function firstLabel(tensors: Tensors): Tensors {
  const labelled = /^(score|classifier\.out_proj)\./;
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const [, ...rest] = tensor.shape;
      const bytes = rest.reduce((product, dim) => product * dim, 2);
      const first = { ...tensor, shape: [1, ...rest], data: tensor.data.slice(0, bytes) };
      return [name, labelled.test(name) ? first : tensor];
    }),
  );
}

/** The digest of a gradient, as heads.py makes it. */
export function digestOf(values: Float32Array): Digest {
  let [squares, largest, first, second] = [0, 0, 0, 0];
  values.forEach((value, index) => {
    squares += value * value;
    largest = Math.max(largest, Math.abs(value));
    first += value * Math.cos(index);
    second += value * Math.cos(0.37 * index + 1);
  });
  const picks = Array.from({ length: 6 }, (_, k) => values[Math.floor(((values.length - 1) * k) / 5)] as number);
  return [Math.sqrt(squares), largest, first, second, ...picks];
}
