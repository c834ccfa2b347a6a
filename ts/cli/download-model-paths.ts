import type { Command } from 'commander';
import { resolveModelDirectory } from '../io/hub/resolve-model-directory-node.js';
import type { ModelPathOptions } from './options.js';
import { createDownloadDisplay } from './ui/download-display.js';

/** Before a command runs: `--model` and `--adapter` that name repositories become the folders that they are downloaded to. */
export async function downloadModelPaths(command: Command): Promise<void> {
  const { model, adapter, revision } = command.opts<ModelPathOptions>();
  const display = createDownloadDisplay();
  try {
    const options = { onProgress: display.update };
    command.setOptionValue(
      'model',
      await resolveModelDirectory(model, ['model', 'tokenizer'], { ...options, revision }),
    );
    if (adapter !== undefined)
      command.setOptionValue('adapter', await resolveModelDirectory(adapter, ['adapter'], options));
  } finally {
    display.stop();
  }
}
