import type { Backend } from '../backend/backend.js';
import { checkpointIn } from '../io/checkpoint.js';
import { readFolderJson, type Folder } from '../io/folder.js';
import { buildModel, configFields, type BuildOptions } from './build-model.js';
import { familyHead, modelFamily } from './index.js';
import type { Model } from './model.js';

/**
 * Reads a model's files (`config.json`, perhaps `generation_config.json`, and the weights in F32, F16 or BF16). What it returns builds the
 * model on a backend: a model that cannot be is refused before one is opened.
 *
 * @throws DeftuneError naming the file or the field that does not fit; the builder naming the tensors that do not.
 */
export function modelIn(folder: Folder, options: BuildOptions = {}): (backend: Backend) => Model {
  const configPath = folder.pathOf('config.json');
  const config = configFields(readFolderJson(folder, 'config.json'), configPath);
  familyHead(modelFamily(config['model_type'], configPath), options.head, config['architectures'], configPath);
  const generationFile = 'generation_config.json';
  const generationConfig = folder.has(generationFile)
    ? configFields(readFolderJson(folder, generationFile), folder.pathOf(generationFile))
    : undefined;
  const source = { name: folder.name, ...checkpointIn(folder) };
  return (backend) => buildModel(backend, config, configPath, source, { generationConfig, ...options });
}
