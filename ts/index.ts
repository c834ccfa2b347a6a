/** Entry for Node. */
export * from './api.js';
export { createBackend } from './backend/create-backend-node.js';
export { AutoTokenizer } from './data/auto-tokenizer-node.js';
export { readActivationThresholds, writeActivationThresholds } from './density/threshold-files-node.js';
export { loadDataset, type LoadDatasetOptions } from './heads/load-dataset-node.js';
export { decodeImage } from './data/decode-image-node.js';
export { ImageReader, type ImageReaderOptions } from './data/image-reader-node.js';
export { readRecordFiles, readRecords, type RecordFile } from './data/records-node.js';
export { findTaskFiles, type TaskFiles } from './data/task-files-node.js';
export { recordOptions } from './data/tasks/record-options.js';
export * from './models/auto-model-node.js';
export {
  addStoredAdapter,
  applyAdapter,
  convertAdapter,
  loadAdapter,
  readAdapter,
  saveAdapter,
  skippedMlps,
} from './peft/peft-files-node.js';
export { checkpointDirectory, type CheckpointDirectoryOptions } from './train/checkpoint-directory-node.js';
export { tensorBoard } from './train/tensorboard-node.js';
export { trainInWorker, type TrainingJob, type WorkerListeners } from './train/train-in-worker-node.js';
export {
  resolveModelDirectory,
  type DownloadProgress,
  type HubOptions,
} from './io/hub/resolve-model-directory-node.js';
