import { DeftuneError } from '../error.js';
import { readFolderJson, type Folder } from '../io/folder.js';
import { parseSafetensors, serializeSafetensors } from '../io/safetensors.js';
import { showValue } from '../io/show-value.js';
import { activationThresholds, setActivationThresholds } from '../nn/activation-thresholds.js';
import { checkActivation, checkThresholds, storedActivation, type StoredActivation } from './adapter-activation.js';
import { LABEL_TENSORS } from '../models/index.js';
import type { Model } from '../models/model.js';
import { adaptersFiles, isAdaptersConfig, readAdaptersDirectory } from './adapters-files.js';
import { headParameters } from './head-parameters.js';
import { closedLayers, storedGates, writeGates, type LayerGateSettings, type StoredGates } from './layer-gates.js';
import { methodOfAdaptersConfig, methodOfPeftType, peftMethod } from './index.js';
import type { PeftMethod } from './method.js';
import { DEFAULT_ADAPTER, PeftModel } from './peft-model.js';
import { pythonJson } from './python-json.js';
import { valuesOf, type SavedTensor, type TensorValues } from './saved-tensor.js';
import { widen } from './widen.js';

/** The adapter's settings, as peft calls their file. */
export const ADAPTER_CONFIG = 'adapter_config.json';
/** The adapter's tensors, as peft calls their file. */
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** Our own settings and measurements: peft drops keys it does not know. */
/** File of what is ours beside an adapter. */
export const SIDECAR = 'deftune.json';

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
export interface Sidecar extends StoredActivation {
  method?: string;
  /** Name of the model's head. */
  head?: string;
  labelNames?: string[];
  /** Gates on the MLPs; peft does not know them. */
  layerGates?: StoredGates;
  [key: string]: unknown;
}

/** The directory formats. */
export type AdapterFormat = 'peft' | 'adapters';

/** An adapter directory, read and checked but not yet applied. */
export interface StoredAdapter {
  /** Where it was read, for messages. */
  directory: string;
  /** What its files are called in messages. */
  pathOf(file: string): string;
  format: AdapterFormat;
  /** adapter_config.json, in `adapters` its `config`. */
  config: Record<string, unknown> | undefined;
  sidecar: Sidecar;
  tensors: Map<string, TensorValues>;
  /** Tensors of the head, where the format keeps them apart. */
  head: ReadonlyMap<string, TensorValues>;
  /** `model_type` of the base, where the format names it. */
  modelType?: string | undefined;
  /** Rows of the stored classifier: the number of labels. */
  numLabels: number | undefined;
}

/** The model that an adapter is for: the name that goes into the adapter's config, and the folder whose tokenizer goes beside a full checkpoint. */
export interface AdapterBase {
  name: string;
  folder?: Folder | undefined;
}

/**
 * Content of the files of an adapter by name: those of peft, or of AdapterHub's `adapters` where peft does not know the method, and
 * deftune.json beside them.
 *
 * @param format asks for one of the two
 * @throws DeftuneError where the method has no file in the format asked for, with the reason
 */
export function adapterContent(
  model: PeftModel,
  base: AdapterBase,
  sidecar: Sidecar = {},
  format: AdapterFormat = whyNotPeft(model) === undefined ? 'peft' : 'adapters',
): Map<string, string | Uint8Array> {
  const files = format === 'adapters' ? inAdapters(model, base) : inPeft(model, base);
  const { head, info } = model.base;
  const labels = info.labelNames.length > 0 ? { labelNames: [...info.labelNames] } : {};
  const { layerGates } = model;
  const gates = layerGates ? { layerGates } : {};
  const activation = storedActivation(model.base);
  const own: Sidecar = { method: model.method.name, head: head.name, ...labels, ...activation, ...gates, ...sidecar };
  files.set(SIDECAR, `${JSON.stringify(own, null, 2)}\n`);
  return files;
}

function whyNotPeft({ method, config, base }: PeftModel): string | undefined {
  return method.whyNotPeft?.(config, base);
}

function inPeft(model: PeftModel, base: AdapterBase): Map<string, string | Uint8Array> {
  const { weightsFile = ADAPTER_WEIGHTS, configToFile } = model.method;
  const reason = whyNotPeft(model);
  if (reason !== undefined) {
    throw new DeftuneError(`${reason}, expected the format of AdapterHub's adapters`);
  }
  const files = new Map<string, string | Uint8Array>([[weightsFile, serializeSafetensors(model.stateDict())]]);
  if (weightsFile !== ADAPTER_WEIGHTS) {
    files.set('config.json', pythonJson(modelConfig(model.base)));
    for (const name of COMPANIONS) if (base.folder?.has(name)) files.set(name, base.folder.bytes(name));
  }
  const config = configToFile?.(model.base, model.config, base.name);
  if (config) files.set(ADAPTER_CONFIG, pythonJson(config));
  return files;
}

function inAdapters(model: PeftModel, { name }: AdapterBase): Map<string, string | Uint8Array> {
  const { base, method, config } = model;
  if (!method.adapters) {
    throw new DeftuneError(`AdapterHub's adapters has no file for ${method.name}, expected the format of peft`);
  }
  const { architecture } = method.adapters;
  const own = { ...(architecture === null ? {} : { architecture }), ...method.adapters.configToFile(config, base) };
  const file = {
    config: own,
    tensors: valuesOf(method.adapters.savedTensors(base, config, own)),
    head: valuesOf(headParameters(base)),
  };
  return adaptersFiles(file, base, 'default', name);
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

/** Reads the files of an adapter of peft or of `adapters`. @throws DeftuneError naming the file and what is wrong with it. */
export function adapterIn(folder: Folder): StoredAdapter {
  const config = folder.has(ADAPTER_CONFIG) ? readObject(folder, ADAPTER_CONFIG) : undefined;
  const sidecar: Sidecar = folder.has(SIDECAR) ? readObject(folder, SIDECAR) : {};
  const { pathOf, name: directory } = folder;
  if (sidecar.layerGates !== undefined) storedGates(sidecar.layerGates, pathOf(SIDECAR));
  if (!config && sidecar.method === undefined) {
    throw new DeftuneError(
      `${directory}: ${ADAPTER_CONFIG} is missing, expected an adapter directory as peft or adapters writes it`,
    );
  }
  if (config && isAdaptersConfig(config)) {
    const { config: own, tensors, head, labelNames, modelType } = readAdaptersDirectory(folder);
    return {
      directory,
      pathOf,
      format: 'adapters',
      config: { ...own },
      sidecar: labelNames && !sidecar.labelNames ? { ...sidecar, labelNames } : sidecar,
      tensors: new Map(tensors),
      head,
      modelType,
      numLabels: numLabelsOf(head),
    };
  }
  const weightsFile = config
    ? ADAPTER_WEIGHTS
    : (peftMethod(sidecar.method, `${pathOf(SIDECAR)}: method`).weightsFile ?? ADAPTER_WEIGHTS);
  const weightsPath = pathOf(weightsFile);
  const { tensors: stored } = parseSafetensors(folder.bytes(weightsFile), weightsPath);
  const tensors = new Map([...stored].map(([key, tensor]) => [key, widen(tensor, `${weightsPath}: ${key}`)]));
  return {
    directory,
    pathOf,
    format: 'peft',
    config,
    sidecar,
    tensors,
    head: new Map(),
    numLabels: numLabelsOf(tensors),
  };
}

function numLabelsOf(tensors: ReadonlyMap<string, TensorValues>): number | undefined {
  const names = [...LABEL_TENSORS];
  return [...tensors].find(([key]) => names.some((name) => `.${key}`.endsWith(`.${name}`)))?.[1].shape[0];
}

/** A stored adapter whose gates have other settings. @throws DeftuneError where it has no gates, or a setting is out of range */
export function withGateSettings(adapter: StoredAdapter, changes: Partial<LayerGateSettings>): StoredAdapter {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  if (given.length === 0) return adapter;
  const where = adapter.pathOf(SIDECAR);
  const { layerGates } = adapter.sidecar;
  if (!layerGates) {
    const [name, value] = given[0] as [string, number];
    throw new DeftuneError(`${name} is ${value}, but ${where} has no layerGates: expected an adapter with gates`);
  }
  const changed = storedGates({ ...layerGates, ...Object.fromEntries(given) }, where);
  return { ...adapter, sidecar: { ...adapter.sidecar, layerGates: changed } };
}

/** Layers whose MLP a stored adapter skips at inference, for `skipMlps`: their weights need not be read. */
export function skippedMlps({ sidecar: { layerGates, method }, config }: StoredAdapter): string[] {
  // What trains the whole model has weights of its own for them.
  const isWhole = !config && peftMethod(method).weightsFile !== undefined;
  return layerGates && !isWhole ? closedLayers(layerGates) : [];
}

/**
 * Injects a stored adapter's method into a model and loads its weights; a model that it does not fit stays as it was. Thresholds of
 * activations that the adapter was trained with replace the model's.
 */
export function applyAdapter(base: Model, adapter: StoredAdapter): PeftModel {
  checkActivation(base, adapter.sidecar, adapter.pathOf(SIDECAR));
  const { method, config, gates, load } = settingsOf(base, adapter);
  const { activationThresholds: stored } = adapter.sidecar;
  const own = activationThresholds(base);
  if (stored) setActivationThresholds(base, stored);
  const model = PeftModel.inject(base, method, config, 0, gates?.settings);
  try {
    if (gates) writeGates(base, gates.theta, adapter.pathOf(SIDECAR));
    load(model);
  } catch (error) {
    if (method.weightsFile === undefined) model.deleteAdapter(DEFAULT_ADAPTER);
    setActivationThresholds(base, own);
    throw error;
  }
  return model;
}

/** Adds a stored adapter beside those of a model, and makes it the active one; all or nothing. @param name not taken yet */
export function addStoredAdapter(model: PeftModel, name: string, adapter: StoredAdapter): void {
  const before = model.activeAdapter;
  const { base } = model;
  model.disableAdapter();
  let added = false;
  try {
    checkActivation(base, adapter.sidecar, adapter.pathOf(SIDECAR));
    checkThresholds(base, adapter.sidecar, adapter.pathOf(SIDECAR));
    const { method, config, gates, load } = settingsOf(base, adapter);
    model.add(name, method, () => config, 0, gates?.settings);
    added = true;
    if (gates) writeGates(base, gates.theta, adapter.pathOf(SIDECAR));
    load(model);
  } catch (error) {
    if (added) model.deleteAdapter(name);
    if (before !== undefined) model.setAdapter(before);
    throw error;
  }
}

/** What a stored adapter is in a model: its method and settings, and what fills it once it is injected. */
interface AdapterSettings {
  method: PeftMethod<unknown>;
  config: unknown;
  load(model: PeftModel): void;
  gates?: { settings: LayerGateSettings; theta: StoredGates['theta'] } | undefined;
}

function settingsOf(base: Model, adapter: StoredAdapter): AdapterSettings {
  const { layerGates } = adapter.sidecar;
  if (!layerGates) return methodOf(base, adapter);
  const { theta, ...settings } = layerGates;
  return { ...methodOf(base, adapter), gates: { settings, theta } };
}

function methodOf(base: Model, adapter: StoredAdapter): AdapterSettings {
  const { directory, pathOf, format, config, sidecar, tensors } = adapter;
  const where = pathOf(ADAPTER_CONFIG);
  const load = (model: PeftModel): void => {
    model.loadStateDict(tensors, directory);
  };
  if (!config) {
    const method = peftMethod(sidecar.method, `${pathOf(SIDECAR)}: method`);
    return { method, config: method.configure({}, base), load };
  }
  if (format === 'peft') {
    const method = methodOfPeftType(config['peft_type'], where);
    const settings = method.configFromFile?.(config, where, base) ?? method.configure({}, base);
    return {
      method,
      config: settings,
      load(model) {
        model.loadStateDict(inPresentNames(tensors, base), directory, method.loadedParameters?.(base, settings));
      },
    };
  }
  checkModelType(adapter, base.info.modelType);
  const { method, adapters } = methodOfAdaptersConfig(config, where);
  const settings = adapters.configFromFile(config, where, base);
  return {
    method,
    config: settings,
    load(model) {
      const head = headOfFile(adapter, base);
      const expected = new Map<string, SavedTensor>([
        ...adapters.savedTensors(base, settings, config),
        ...head.expected,
      ]);
      model.loadStateDict(new Map([...tensors, ...head.found]), directory, expected);
    },
  };
}

/** Tensors by the names that modules have now: files may have those of transformers 4. */
function inPresentNames(tensors: Map<string, TensorValues>, { info }: Model): Map<string, TensorValues> {
  const { presentPath } = info;
  return presentPath ? new Map([...tensors].map(([key, tensor]) => [presentPath(key), tensor])) : tensors;
}

/** @throws DeftuneError where an adapter says that it is for a base of another type */
export function checkModelType({ modelType, pathOf }: StoredAdapter, expected: string): void {
  if (modelType === undefined || modelType === expected) return;
  throw new DeftuneError(
    `${pathOf(ADAPTER_CONFIG)}: model_type is ${showValue(modelType)}, expected ${expected} as the base`,
  );
}

/** The stored head and the model's, where the file has one: without one the model's stays. */
function headOfFile(
  { head }: StoredAdapter,
  model: Model,
): { expected: Map<string, SavedTensor>; found: Map<string, TensorValues> } {
  const expected = head.size > 0 ? headParameters(model) : new Map<string, SavedTensor>();
  return { expected, found: new Map([...head].filter(([name]) => expected.has(name))) };
}

function readObject(folder: Folder, file: string): Record<string, unknown> {
  const value: unknown = readFolderJson(folder, file);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DeftuneError(`${folder.pathOf(file)}: the file holds ${showValue(value)}, expected an object`);
}
