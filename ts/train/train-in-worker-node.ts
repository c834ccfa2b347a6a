import { Worker } from 'node:worker_threads';
import type { BackendOptions } from '../backend/backend.js';
import type { DensityLossOptions } from '../density/density-loss.js';
import { DeftuneError } from '../error.js';
import type { ModelOptions } from '../models/model.js';
import type { PeftOptions } from '../peft/peft-model.js';
import type { EvaluationLog, StepLog, TrainResult } from './trainer.js';
import type { TrainingArguments } from './training-arguments.js';

/** A run described by plain data, so that a worker thread can do it. */
export interface TrainingJob {
  /** Model directory. */
  model: string;
  modelOptions?:
    | (Pick<ModelOptions, 'numLabels' | 'labelNames' | 'dropout' | 'seed' | 'activation' | 'activationThresholds'> & {
        head?: string;
      })
    | undefined;
  peft: PeftOptions;
  /** Records with labels: JSONL, CSV, TSV or Parquet. */
  trainFile: string;
  evalFile?: string | undefined;
  /** Benchmark task that the records are of. */
  task?: string | undefined;
  args?: Partial<TrainingArguments> | undefined;
  /** Default: no density loss. */
  density?: DensityLossOptions | undefined;
  backend?: BackendOptions | undefined;
  /** Where checkpoints are kept, as `checkpointDirectory` does. */
  checkpoints?: { directory: string; saveTotalLimit?: number | undefined } | undefined;
  resume?: boolean | undefined;
  /** Where the adapter is written at the end. */
  out?: string | undefined;
}

/** Told of what happens in the worker. */
export interface WorkerListeners {
  onStep?: ((log: StepLog, totalSteps: number) => void) | undefined;
  onEvaluate?: ((log: EvaluationLog) => void) | undefined;
  /** Stops the run after the step at hand; a checkpoint is saved where checkpoints are kept. */
  signal?: AbortSignal | undefined;
}

/** What the worker says. */
export type WorkerMessage =
  | { kind: 'step'; log: StepLog; totalSteps: number }
  | { kind: 'evaluation'; log: EvaluationLog }
  | { kind: 'result'; result: TrainResult }
  | { kind: 'error'; message: string; isExpected: boolean };

/**
 * Trains in a thread of its own: this one's event loop stays free for the whole run. Several may run at once; each opens its own model.
 *
 * @throws DeftuneError as `Trainer` does, and for files that cannot be read.
 */
export async function trainInWorker(job: TrainingJob, listeners: WorkerListeners = {}): Promise<TrainResult> {
  const { signal, onStep, onEvaluate } = listeners;
  const worker = new Worker(new URL('./training-worker-node.js', import.meta.url), { workerData: job });
  const abort = (): void => {
    worker.postMessage('abort');
  };
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
  try {
    return await new Promise<TrainResult>((resolve, reject) => {
      let result: TrainResult | undefined;
      worker.on('message', (message: WorkerMessage) => {
        // A listener that throws ends the run, as it would in this thread.
        try {
          if (message.kind === 'step') onStep?.(message.log, message.totalSteps);
          else if (message.kind === 'evaluation') onEvaluate?.(message.log);
          else if (message.kind === 'result') result = message.result;
          else reject(message.isExpected ? new DeftuneError(message.message) : new Error(message.message));
        } catch (error) {
          reject(error as Error);
        }
      });
      worker.on('error', reject);
      worker.on('exit', (code) => {
        if (result) resolve(result);
        else reject(new DeftuneError(`the worker thread ended with code ${code} before the run did`));
      });
    });
  } finally {
    signal?.removeEventListener('abort', abort);
    await worker.terminate();
  }
}
