import { DeftuneError } from '../error.js';
import { readFolderJson, type Folder } from '../io/folder.js';
import { parseSafetensors, serializeSafetensors, type StoredTensor } from '../io/safetensors.js';
import { showValue } from '../io/show-value.js';
import { LABEL_TENSORS } from '../models/index.js';
import type { Model } from '../models/model.js';
import { methodOfPeftType, peftMethod } from './index.js';
import { PeftModel, type TensorValues } from './peft-model.js';

/** The adapter's settings, as peft calls their file. */
export const ADAPTER_CONFIG = 'adapter_config.json';
/** The adapter's tensors, as peft calls their file. */
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** Our own settings and measurements: peft drops keys it does not know. */
const SIDECAR = 'deftune.json';

/** What a whole model needs beside its weights and config. */
const COMPANIONS = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'spiece.model',
  'preprocessor_config.json',
];

/** What deftune.json says beside an adapter. */
export interface Sidecar {
  method?: string;
  /** Name of the model's head. */
  head?: string;
  labelNames?: string[];
  [key: string]: unknown;
}

/** An adapter directory, read and checked but not yet applied. */
export interface StoredAdapter {
  /** Where it was read, for messages. */
  directory: string;
  /** What its files are called in messages. */
  pathOf(file: string): string;
  config: Record<string, unknown> | undefined;
  sidecar: Sidecar;
  tensors: Map<string, TensorValues>;
  /** Rows of the stored classifier: the number of labels. */
  numLabels: number | undefined;
}

/**
 * Content of the files of an adapter by name: peft's, and deftune.json beside them.
 *
 * @param base the model that it is for: the name that goes into the adapter's config, and the folder whose tokenizer goes beside a full
 *   checkpoint
 */
export function adapterContent(
  model: PeftModel,
  base: { name: string; folder?: Folder | undefined },
  sidecar: Sidecar = {},
): Map<string, string | Uint8Array> {
  const { weightsFile = ADAPTER_WEIGHTS } = model.method;
  const files = new Map<string, string | Uint8Array>([[weightsFile, serializeSafetensors(model.stateDict())]]);
  if (weightsFile !== ADAPTER_WEIGHTS) {
    files.set('config.json', pythonJson(modelConfig(model.base)));
    for (const name of COMPANIONS) if (base.folder?.has(name)) files.set(name, base.folder.bytes(name));
  }
  const config = model.method.configToFile?.(model.base, model.config, base.name);
  if (config) files.set(ADAPTER_CONFIG, pythonJson(config));
  const { head, info } = model.base;
  const labels = info.labelNames.length > 0 ? { labelNames: [...info.labelNames] } : {};
  const own: Sidecar = { method: model.method.name, head: head.name, ...labels, ...sidecar };
  files.set(SIDECAR, `${JSON.stringify(own, null, 2)}\n`);
  return files;
}

/** config.json of a fine-tuned model: the base's, with its labels. */
function modelConfig({ info }: Model): Record<string, unknown> {
  return {
    ...info.config,
    architectures: [info.architecture],
    dtype: 'float32',
    id2label: Object.fromEntries(info.labelNames.map((name, index) => [index, name])),
    label2id: Object.fromEntries(info.labelNames.map((name, index) => [name, index])),
    ...(info.numLabels === 1 ? { problem_type: 'regression' } : {}),
  };
}

/** As Python's json with indent 2 and sorted keys. */
function pythonJson(value: Record<string, unknown>): string {
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(sorted, null, 2);
}

/** Reads the files of an adapter. @throws DeftuneError naming the file and what is wrong with it. */
export function adapterIn(folder: Folder): StoredAdapter {
  const config = folder.has(ADAPTER_CONFIG) ? readObject(folder, ADAPTER_CONFIG) : undefined;
  const sidecar: Sidecar = folder.has(SIDECAR) ? readObject(folder, SIDECAR) : {};
  if (!config && sidecar.method === undefined) {
    throw new DeftuneError(
      `${folder.name}: ${ADAPTER_CONFIG} is missing, expected an adapter directory as peft writes it`,
    );
  }
  const weightsFile = config
    ? ADAPTER_WEIGHTS
    : (peftMethod(sidecar.method, `${folder.pathOf(SIDECAR)}: method`).weightsFile ?? ADAPTER_WEIGHTS);
  const weightsPath = folder.pathOf(weightsFile);
  const { tensors: stored } = parseSafetensors(folder.bytes(weightsFile), weightsPath);
  const tensors = new Map([...stored].map(([key, tensor]) => [key, widen(tensor, `${weightsPath}: ${key}`)]));
  const names = [...LABEL_TENSORS];
  const labels = [...tensors].find(([key]) => names.some((name) => `.${key}`.endsWith(`.${name}`)))?.[1];
  return { directory: folder.name, pathOf: folder.pathOf, config, sidecar, tensors, numLabels: labels?.shape[0] };
}

/** Injects a stored adapter's method into a model and loads its weights. */
export function applyAdapter(base: Model, adapter: StoredAdapter): PeftModel {
  const { directory, config, sidecar, pathOf } = adapter;
  const where = pathOf(ADAPTER_CONFIG);
  const method = config
    ? methodOfPeftType(config['peft_type'], where)
    : peftMethod(sidecar.method, `${pathOf(SIDECAR)}: method`);
  const settings =
    config && method.configFromFile ? method.configFromFile(config, where, base) : method.configure({}, base);
  const model = PeftModel.inject(base, method, settings, 0);
  model.loadStateDict(adapter.tensors, directory);
  return model;
}

function readObject(folder: Folder, file: string): Record<string, unknown> {
  const value: unknown = readFolderJson(folder, file);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DeftuneError(`${folder.pathOf(file)}: the file holds ${showValue(value)}, expected an object`);
}

/** Adapters are small: F32 only is kept simple, F16 and BF16 are widened here. */
function widen({ dtype, shape, data }: StoredTensor, name: string): TensorValues {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const read: Partial<Record<string, (index: number) => number>> = {
    F32: (index) => view.getFloat32(index * 4, true),
    F16: (index) => halfToFloat(view.getUint16(index * 2, true)),
    BF16: (index) => bfloatToFloat(view.getUint16(index * 2, true)),
  };
  const element = read[dtype];
  if (!element) throw new DeftuneError(`${name} is stored as ${dtype}, expected F32, F16 or BF16`);
  const size = shape.reduce((product, dim) => product * dim, 1);
  return { shape, values: Float32Array.from({ length: size }, (_, index) => element(index)) };
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const scratch = new DataView(new ArrayBuffer(4));

function bfloatToFloat(bits: number): number {
  scratch.setUint32(0, bits * 65_536);
  return scratch.getFloat32(0);
}
