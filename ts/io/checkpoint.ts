import { DeftuneError } from '../error.js';
import { readFolderJson, type Folder } from './folder.js';
import { parseSafetensors, type SafetensorsFile, type StoredTensor } from './safetensors.js';
import { showValue } from './show-value.js';

/** The tensors of a model directory, whether in one file or in shards. */
export interface Checkpoint {
  /** Stored names, in the files' order. */
  names(): string[];
  /** The tensor stored under `name`; its data is a view on the file read, not to be written to. */
  get(name: string): StoredTensor | undefined;
}

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/**
 * Opens a folder's `model.safetensors`, or the shards that its `model.safetensors.index.json` lists.
 *
 * @throws DeftuneError when neither exists, a file is invalid, the index names a file outside the folder, or
 *   a tensor is missing in the shard the index gives for it
 */
export function checkpointIn(folder: Folder): Checkpoint {
  if (folder.has(SINGLE)) return checkpointOf(parseSafetensors(folder.bytes(SINGLE), folder.pathOf(SINGLE)).tensors);
  if (folder.has(INDEX)) return checkpointOf(readShards(folder));
  const pickle = folder.has('pytorch_model.bin') ? '; pytorch_model.bin cannot be read, convert it to safetensors' : '';
  throw new DeftuneError(
    `${folder.name}: found neither ${SINGLE} nor ${INDEX}, expected a model directory with one of ${SINGLE}, ${INDEX}${pickle}`,
  );
}

function checkpointOf(tensors: Map<string, StoredTensor>): Checkpoint {
  return { names: () => [...tensors.keys()], get: (name) => tensors.get(name) };
}

function readShards(folder: Folder): Map<string, StoredTensor> {
  const index = folder.pathOf(INDEX);
  const document = readFolderJson(folder, INDEX);
  const map = isObject(document) ? Object.entries(document).find(([key]) => key === 'weight_map')?.[1] : undefined;
  if (!isObject(map)) {
    throw new DeftuneError(`${index}: weight_map is ${showValue(map)}, expected an object from tensor to file name`);
  }
  const shards = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, StoredTensor>();
  for (const [name, file] of Object.entries(map) as [string, unknown][]) {
    if (!isPlainFileName(file)) {
      throw new DeftuneError(
        `${index}: weight_map ${showValue(name)} is ${showValue(file)}, expected the name of a .safetensors file in the same folder`,
      );
    }
    const path = folder.pathOf(file);
    let shard = shards.get(file);
    if (shard === undefined) {
      if (!folder.has(file)) {
        throw new DeftuneError(`${index}: weight_map ${showValue(name)} names ${file}, but ${path} does not exist`);
      }
      shard = parseSafetensors(folder.bytes(file), path);
      shards.set(file, shard);
    }
    const tensor = shard.tensors.get(name);
    if (tensor === undefined) {
      throw new DeftuneError(`${path}: tensor ${showValue(name)} is missing, expected it here because of ${index}`);
    }
    tensors.set(name, tensor);
  }
  return tensors;
}

/** Excludes separators of every platform, drive letters and dot names, so that no path can leave the folder. */
function isPlainFileName(file: unknown): file is string {
  return typeof file === 'string' && /^[^./\\:\0][^/\\:\0]*\.safetensors$/.test(file);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
