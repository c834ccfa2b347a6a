/** Entry for browsers; compiled under tsconfig.browser.json, which knows no Node. */
import type { Backend } from './backend/backend.js';
import { createBackend } from './backend/create-backend-browser.js';
import type { BuildOptions } from './models/build-model.js';
import type { Model } from './models/model.js';
import { modelFromFiles as build, type ModelFiles } from './models/model-from-files.js';

export * from './api.js';
export { decodeImage } from './data/decode-image-browser.js';
export { createBackend, init } from './backend/create-backend-browser.js';
export type { WasmSource } from './backend/load-wasm-browser.js';

/** Files and options of a model; `backend` defaults to a new one. */
export interface ModelFromFilesOptions extends ModelFiles, BuildOptions {
  backend?: Backend | undefined;
}

/**
 * Builds a model from files that the page has fetched.
 *
 * @throws DeftuneError naming the file, the field or the tensors that do not fit.
 */
export async function modelFromFiles(options: ModelFromFilesOptions): Promise<Model> {
  return build(options.backend ?? (await createBackend()), options, options);
}
