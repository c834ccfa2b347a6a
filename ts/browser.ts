/** Entry for browsers; compiled under tsconfig.browser.json, which knows no Node. */
import type { Backend } from './backend/backend.js';
import { createBackend } from './backend/create-backend-browser.js';
import { tokenizerIn } from './data/tokenizer-files.js';
import type { Tokenizer } from './data/tokenizer.js';
import { memoryFolder, type Files } from './io/folder.js';
import type { BuildOptions } from './models/build-model.js';
import { modelIn } from './models/model-in-folder.js';
import type { Model } from './models/model.js';
import { adapterContent, adapterIn, applyAdapter, type Sidecar } from './peft/peft-files.js';
import type { PeftModel } from './peft/peft-model.js';

export * from './api.js';
export { decodeImage } from './data/decode-image-browser.js';
export { recordsFromText } from './data/records-from-text.js';
export { createBackend, init } from './backend/create-backend-browser.js';
export { clearModelCache, fetchModel, type FetchModelOptions, type FetchProgress } from './web/fetch-model.js';
export { opfsCheckpoints, removeOpfsCheckpoints, type OpfsCheckpointOptions } from './web/checkpoint-opfs.js';
export { activationMap, type ActivationMap } from './density/activation-map.js';
export {
  createWorkerTrainer,
  type WorkerListeners,
  type WorkerTrainer,
  type WorkerTrainerOptions,
} from './web/create-worker-trainer.js';
export type { WorkerInfo, WorkerJob } from './web/worker-protocol.js';
export type { WasmSource } from './backend/load-wasm-browser.js';

/** Options of a model; `backend` defaults to a new one. */
export interface ModelFromFilesOptions extends BuildOptions {
  backend?: Backend | undefined;
}

/**
 * Builds a model from files that the page has read: `config.json`, `model.safetensors` or its shards, perhaps `generation_config.json`.
 *
 * @throws DeftuneError naming the file, the field or the tensors that do not fit.
 */
export async function modelFromFiles(
  files: Files,
  { backend, ...options }: ModelFromFilesOptions = {},
): Promise<Model> {
  const build = modelIn(memoryFolder(files), options);
  return build(backend ?? (await createBackend()));
}

/** Reads a tokenizer from a model's files. @throws DeftuneError where there is none among them, or a file is invalid. */
export function tokenizerFromFiles(files: Files): Tokenizer {
  return tokenizerIn(memoryFolder(files));
}

/**
 * The files of an adapter in peft's format, by name.
 *
 * @param baseModel what adapter_config.json calls the model that it is for
 */
export function adapterToFiles(
  model: PeftModel,
  baseModel: string,
  sidecar: Sidecar = {},
): Map<string, string | Uint8Array> {
  return adapterContent(model, { name: baseModel }, sidecar);
}

/** Puts an adapter in peft's format into a model. @throws DeftuneError naming the file, the setting or the tensors that do not fit. */
export function adapterFromFiles(base: Model, files: Files): PeftModel {
  return applyAdapter(base, adapterIn(memoryFolder(files)));
}
