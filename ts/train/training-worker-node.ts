// The thread behind `trainInWorker`.
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { createBackend } from '../backend/create-backend-node.js';
import type { Example } from '../data/batching.js';
import { AutoTokenizer } from '../data/auto-tokenizer-node.js';
import { densityLoss } from '../density/density-loss.js';
import { DeftuneError } from '../error.js';
import { loadDataset } from '../heads/load-dataset-node.js';
import { AutoModel } from '../models/auto-model-node.js';
import { adapterFiles, saveAdapter } from '../peft/peft-files-node.js';
import { gatePenalty } from '../peft/gate-penalty.js';
import { getPeftModel } from '../peft/peft-model.js';
import { checkpointDirectory } from './checkpoint-directory-node.js';
import { DensityRecorder } from './density-recorder.js';
import type { TrainingJob, WorkerMessage } from './train-in-worker-node.js';
import { Trainer, type TrainResult } from './trainer.js';

const port = parentPort as MessagePort;
const say = (message: WorkerMessage): void => {
  port.postMessage(message);
};
const abortion = new AbortController();
port.on('message', () => {
  abortion.abort();
});

async function run(job: TrainingJob): Promise<TrainResult> {
  const backend = await createBackend(job.backend);
  const base = await AutoModel.fromPretrained(job.model, { ...job.modelOptions, backend });
  const model = getPeftModel(base, job.peft);
  const tokenizer = AutoTokenizer.isIn(job.model) ? await AutoTokenizer.fromPretrained(job.model) : undefined;
  const load = (path: string): Promise<Example[]> => loadDataset(path, { tokenizer, model: base, task: job.task });
  const { checkpoints, density, resume = false, out } = job;
  const auxiliaryLosses = [...(density ? [densityLoss(density, base.info.activation)] : []), ...gatePenalty(model)];
  const recorder = new DensityRecorder(auxiliaryLosses);
  const trainer = new Trainer({
    model,
    trainDataset: await load(job.trainFile),
    evalDataset: job.evalFile === undefined ? undefined : await load(job.evalFile),
    args: job.args,
    auxiliaryLosses,
    callbacks: [recorder],
    checkpoints:
      checkpoints &&
      checkpointDirectory(checkpoints.directory, {
        saveTotalLimit: checkpoints.saveTotalLimit,
        extraFiles: () => adapterFiles(model, job.model, { density: recorder.record() }),
      }),
    signal: abortion.signal,
    onStep: (log, totalSteps) => {
      say({ kind: 'step', log, totalSteps });
    },
    onEvaluate: (log) => {
      say({ kind: 'evaluation', log });
    },
  });
  const result = await trainer.train({ resume });
  if (out !== undefined && result.ended !== 'aborted')
    saveAdapter(model, out, job.model, { density: recorder.record() });
  return result;
}

try {
  say({ kind: 'result', result: await run(workerData as TrainingJob) });
} catch (error) {
  say({ kind: 'error', message: (error as Error).message, isExpected: error instanceof DeftuneError });
} finally {
  port.close();
}
