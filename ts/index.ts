/** Entry for Node. */
export * from './api.js';
export { createBackend } from './backend/create-backend-node.js';
export { AutoTokenizer } from './data/auto-tokenizer-node.js';
export { loadDataset, type LoadDatasetOptions } from './heads/load-dataset-node.js';
export { readRecords } from './data/records-node.js';
export * from './models/auto-model-node.js';
export { applyAdapter, loadAdapter, readAdapter, saveAdapter } from './peft/peft-files-node.js';
export { checkpointDirectory, type CheckpointDirectoryOptions } from './train/checkpoint-directory-node.js';
export {
  resolveModelDirectory,
  type DownloadProgress,
  type HubOptions,
} from './io/hub/resolve-model-directory-node.js';
