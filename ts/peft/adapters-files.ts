import { DeftuneError } from '../error.js';
import { readFolderJson, type Folder } from '../io/folder.js';
import { parseSafetensors, serializeSafetensors, type StoredTensor } from '../io/safetensors.js';
import { showValue } from '../io/show-value.js';
import { parseTorchFile } from '../io/torch-file.js';
import type { Model } from '../models/model.js';
import type { AdaptersFile } from './adapters-format.js';
import { pythonJson } from './python-json.js';
import type { TensorValues } from './saved-tensor.js';
import { widen } from './widen.js';

const CONFIG = 'adapter_config.json';
const HEAD_CONFIG = 'head_config.json';
/** Each in the format that is safe to read, and as torch.save writes it. */
const WEIGHTS = ['adapter.safetensors', 'pytorch_adapter.bin'] as const;
const HEAD_WEIGHTS = ['model_head.safetensors', 'pytorch_model_head.bin'] as const;

/** Files of this format that no other adapter in a folder may leave behind. */
export const ADAPTERS_FILES: readonly string[] = [HEAD_CONFIG, ...WEIGHTS, ...HEAD_WEIGHTS];
/** The version whose files these are: readers set right what older ones did. */
const VERSION = 'adapters.1.3.0';
/** Fields that `adapters` takes as floats only: it refuses a scaling of 1. */
const FLOATS: readonly string[] = ['scaling', 'dropout', 'stochastic_depth'];
/** What holds adapters in a model of `adapters`; the adapter's name comes next. */
const HOLDERS = 'adapters|loras|prefix_tunings|prompt_tunings';

/** A directory of `adapters`, read and checked but not yet applied. */
export interface AdaptersDirectory extends AdaptersFile {
  name: string;
  modelType: string | undefined;
  /** Labels of the stored head, by index. */
  labelNames: string[] | undefined;
}

/** Whether an adapter_config.json is of `adapters`, and not of peft. */
export function isAdaptersConfig(config: Readonly<Record<string, unknown>>): boolean {
  return typeof config['config'] === 'object' && config['config'] !== null && config['peft_type'] === undefined;
}

/** Reads a directory of `adapters`. @throws DeftuneError naming the file and what is wrong in it */
export function readAdaptersDirectory(folder: Folder): AdaptersDirectory {
  const path = folder.pathOf(CONFIG);
  const document = readFolderJson(folder, CONFIG) as Record<string, unknown>;
  const { name, config, model_type: modelType } = document;
  if (typeof name !== 'string' || name === '') {
    throw new DeftuneError(`${path}: name is ${showValue(name)}, expected the adapter's name`);
  }
  const weights = WEIGHTS.find((file) => folder.has(file));
  if (!weights) throw new DeftuneError(`${folder.name}: found neither ${WEIGHTS.join(' nor ')}`);
  const stored = readTensors(folder, weights);
  const tensors = new Map<string, TensorValues>();
  const named = new RegExp(`(^|\\.)(${HOLDERS})\\.${escaped(name)}(\\.|$)`);
  for (const [key, tensor] of stored) {
    if (!named.test(key)) {
      throw new DeftuneError(
        `${folder.pathOf(weights)}: ${showValue(key)} is no tensor of the adapter ${showValue(name)}`,
      );
    }
    tensors.set(key.replace(named, '$1$2$3'), tensor);
  }
  return {
    name,
    modelType: typeof modelType === 'string' ? modelType : undefined,
    config: config as Record<string, unknown>,
    tensors,
    ...readHead(folder),
  };
}

/** A stored head and its labels. */
interface StoredHead {
  head: Map<string, TensorValues>;
  labelNames: string[] | undefined;
}

function readHead(folder: Folder): StoredHead {
  const weights = HEAD_WEIGHTS.find((file) => folder.has(file));
  const path = folder.pathOf(HEAD_CONFIG);
  if (!weights || !folder.has(HEAD_CONFIG)) return { head: new Map(), labelNames: undefined };
  const { model_class: modelClass, label2id } = readFolderJson(folder, HEAD_CONFIG) as Record<string, unknown>;
  if (typeof modelClass !== 'string' || /(AdapterModel|ModelWithHeads)$/.test(modelClass)) {
    throw new DeftuneError(
      `${path}: model_class is ${showValue(modelClass)}, expected a model with one fixed head, e.g. BertForSequenceClassification`,
    );
  }
  const labels = typeof label2id === 'object' && label2id !== null ? Object.entries(label2id) : [];
  const labelNames = labels.sort(([, a], [, b]) => Number(a) - Number(b)).map(([label]) => label);
  return { head: readTensors(folder, weights), labelNames: labelNames.length > 0 ? labelNames : undefined };
}

function readTensors(folder: Folder, file: string): Map<string, TensorValues> {
  const path = folder.pathOf(file);
  const bytes = folder.bytes(file);
  const stored: Map<string, StoredTensor> = file.endsWith('.bin')
    ? parseTorchFile(bytes, path)
    : parseSafetensors(bytes, path).tensors;
  return new Map([...stored].map(([key, tensor]) => [key, widen(tensor, `${path}: ${key}`)]));
}

/** Content of the files of a directory of `adapters`, by name. */
export function adaptersFiles(
  file: AdaptersFile,
  model: Model,
  name: string,
  baseModel: string,
): Map<string, string | Uint8Array> {
  const { info } = model;
  const common = {
    hidden_size: hiddenSize(model),
    model_class: info.architecture,
    model_name: baseModel,
    model_type: info.modelType,
    version: VERSION,
  };
  const holder = new RegExp(`(^|\\.)(${HOLDERS})(\\.|$)`);
  const tensors = [...file.tensors].map(
    ([key, tensor]) =>
      [key.replace(holder, (_, a: string, b: string, c: string) => `${a}${b}.${name}${c}`), tensor] as const,
  );
  const files = new Map<string, string | Uint8Array>([
    [CONFIG, pythonJson({ ...common, config: sorted(file.config), name }, FLOATS)],
    [WEIGHTS[0], serialize(tensors)],
  ]);
  if (file.head.size === 0) return files;
  const head = {
    ...common,
    config: null,
    label2id: Object.fromEntries(info.labelNames.map((label, index) => [label, index])),
    name: null,
    num_labels: info.numLabels,
  };
  files.set(HEAD_CONFIG, pythonJson(head));
  files.set(HEAD_WEIGHTS[0], serialize(file.head));
  return files;
}

function serialize(tensors: Iterable<readonly [string, TensorValues]>): Uint8Array {
  return serializeSafetensors(
    [...tensors].map(([key, { shape, values }]) => [key, { dtype: 'F32', shape, data: values }] as const),
  );
}

function hiddenSize({ info: { config } }: Model): unknown {
  return config['hidden_size'] ?? config['n_embd'] ?? config['d_model'];
}

function sorted(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
