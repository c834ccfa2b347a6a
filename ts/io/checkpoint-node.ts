import { DeftuneError } from '../error.js';
import { checkpointIn, type Checkpoint } from './checkpoint.js';
import { diskFolder, fileExists } from './files-node.js';

/** Opens the weights of a model directory. @throws DeftuneError as `checkpointIn`, and where there is no such folder */
export function openCheckpoint(dir: string): Checkpoint {
  if (fileExists(dir)) return checkpointIn(diskFolder(dir));
  throw new DeftuneError(
    `${dir}: no such folder, expected a model directory with one of model.safetensors, model.safetensors.index.json`,
  );
}
