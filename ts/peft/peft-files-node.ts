import { rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { diskFolder, writeFilesAtomic } from '../io/files-node.js';
import { repositoryOfSnapshot } from '../io/hub/hub-cache-node.js';
import { resolveModelDirectory, type HubOptions } from '../io/hub/resolve-model-directory-node.js';
import {
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  adapterContent,
  adapterIn,
  applyAdapter,
  type AdapterFormat,
  type Sidecar,
  type StoredAdapter,
} from './peft-files.js';
import { ADAPTERS_FILES } from './adapters-files.js';
import type { Model } from '../models/model.js';
import { activationThresholds, setActivationThresholds } from '../nn/activation-thresholds.js';
import { DeftuneError } from '../error.js';
import { DEFAULT_ADAPTER, type PeftModel } from './peft-model.js';

export {
  addStoredAdapter,
  applyAdapter,
  SIDECAR,
  skippedMlps,
  withGateSettings,
  type Sidecar,
  type StoredAdapter,
} from './peft-files.js';

/**
 * Writes an adapter in peft's format, or that of AdapterHub's `adapters` where peft does not know the method, with deftune.json beside
 * it: all files or none. Adapter files that an earlier run left there and this one does not write are removed, for they would be read in
 * place of the new ones.
 *
 * @param baseDirectory the model's folder: its name goes into the adapter's config, its tokenizer beside a full checkpoint
 * @param format asks for one of the two
 * @throws DeftuneError naming the directory that cannot be written to, or why the method has no file in the format asked for
 */
export function saveAdapter(
  model: PeftModel,
  directory: string,
  baseDirectory: string,
  sidecar: Sidecar = {},
  format?: AdapterFormat,
): void {
  const files = adapterFiles(model, baseDirectory, sidecar, format);
  writeFilesAtomic(directory, files);
  for (const name of [ADAPTER_CONFIG, ADAPTER_WEIGHTS, ...ADAPTERS_FILES]) {
    if (!files.has(name)) rmSync(join(directory, name), { force: true });
  }
}

/** Content of the files of an adapter by name, as {@link saveAdapter} writes them. */
export function adapterFiles(
  model: PeftModel,
  baseDirectory: string,
  sidecar: Sidecar = {},
  format?: AdapterFormat,
): Map<string, string | Uint8Array> {
  const base = { name: baseModelName(baseDirectory), folder: diskFolder(baseDirectory) };
  return adapterContent(model, base, sidecar, format);
}

/**
 * Writes a stored adapter again, in another format or the same one.
 *
 * @param base a model that it fits, which is left as it was
 * @param directory where to, not the adapter's own
 * @param format default: the one that the adapter is not in
 * @throws DeftuneError as {@link saveAdapter}: with the reason where the format cannot say what the adapter does
 */
export function convertAdapter(
  base: Model,
  adapter: StoredAdapter,
  directory: string,
  baseDirectory: string,
  format: AdapterFormat = adapter.format === 'peft' ? 'adapters' : 'peft',
): void {
  if (resolve(directory) === resolve(adapter.directory)) {
    throw new DeftuneError(`${directory} is the adapter's own folder, expected another`);
  }
  const thresholds = activationThresholds(base);
  const model = applyAdapter(base, adapter);
  try {
    saveAdapter(model, directory, baseDirectory, adapter.sidecar, format);
  } finally {
    if (model.method.weightsFile === undefined) model.deleteAdapter(DEFAULT_ADAPTER);
    setActivationThresholds(base, thresholds);
  }
}

/** What peft calls the base: the repository that a directory was downloaded from, else the directory's name. */
function baseModelName(directory: string): string {
  const path = resolve(directory);
  return repositoryOfSnapshot(path) ?? basename(path);
}

/**
 * Reads an adapter directory, or downloads that of a repository on the Hugging Face hub.
 *
 * @throws DeftuneError as readAdapter does, or saying why there is nothing to download
 */
export async function loadAdapter(nameOrPath: string, options: HubOptions = {}): Promise<StoredAdapter> {
  return readAdapter(await resolveModelDirectory(nameOrPath, ['adapter'], options));
}

/** Reads an adapter directory. @throws DeftuneError naming the file and what is wrong with it. */
export function readAdapter(directory: string): StoredAdapter {
  return adapterIn(diskFolder(directory));
}
