import type { BackendOptions } from '../backend/backend.js';
import type { WasmSource } from '../backend/load-wasm-browser.js';
import type { DataRecord } from '../data/record.js';
import type { DensityBudget } from '../density/density-controller.js';
import type { DensityLossOptions } from '../density/density-loss.js';
import type { Files } from '../io/folder.js';
import type { ModelOptions } from '../models/model.js';
import type { PeftOptions } from '../peft/peft-model.js';
import type { Evaluation } from '../train/evaluate.js';
import type { EvaluationLog, StepLog, TrainResult } from '../train/trainer.js';
import type { TrainingArguments } from '../train/training-arguments.js';
import type { ActivationMap } from '../density/activation-map.js';
import type { FetchProgress } from './fetch-model.js';

/** A run described by what can be sent to a worker. */
export interface WorkerJob {
  /** Address of a model's folder, its files as the user picked them, or their content. */
  model: string | readonly File[] | Files;
  /** Name of the cache for a model that is fetched; see `fetchModel`. */
  cache?: string | false | undefined;
  modelOptions?:
    | (Pick<
        ModelOptions,
        'numLabels' | 'labelNames' | 'dropout' | 'seed' | 'precision' | 'activation' | 'activationThresholds'
      > & {
        head?: string | undefined;
      })
    | undefined;
  /** The method and its settings. */
  peft?: PeftOptions | undefined;
  /** In place of `peft`: an adapter in peft's format to go on with, as the user picked its files or their content. */
  adapter?: readonly File[] | Files | undefined;
  /** Records with labels to learn from; none: the model can only be used. */
  trainRecords?: readonly DataRecord[] | undefined;
  evalRecords?: readonly DataRecord[] | undefined;
  /** Benchmark task that the records are of. */
  task?: string | undefined;
  args?: Partial<TrainingArguments> | undefined;
  /** Default: no density loss, plain PEFT. */
  density?: DensityLossOptions | undefined;
  /** Finds the density loss's alpha within a budget, as `densityController` does; needs `density` and `evalRecords`. */
  budget?: DensityBudget | undefined;
  metricNames?: readonly string[] | undefined;
  /** Where checkpoints are kept, as `opfsCheckpoints` does; default: the best one in memory, where `args` ask for it at the end. */
  checkpoints?: { name: string; saveTotalLimit?: number | undefined } | undefined;
  /** Threads and instruction set. */
  backend?: BackendOptions | undefined;
  /** The WebAssembly module; default: the one in this package. */
  wasm?: WasmSource | undefined;
}

/** What the worker has opened. */
export interface WorkerInfo {
  /** Steps of the run; 0 where there is nothing to learn from. */
  totalSteps: number;
  /** Instruction set: `relaxed-simd` or `simd128`. */
  isa: string;
  threads: number;
  method: string;
  /** As peft's print_trainable_parameters says it. */
  trainable: string;
  /** The density loss in words; undefined: none. */
  density: string | undefined;
  labelNames: readonly string[];
  trainExamples: number;
  evalExamples: number;
  /** What a user should know: a new head, texts that were cut. */
  notices: string[];
}

/** What can be asked of the worker, each by one message that is answered by one. */
export interface WorkerCalls {
  open(job: WorkerJob): WorkerInfo;
  train(options: { resume: boolean }): TrainResult;
  evaluate(records: readonly DataRecord[]): Evaluation;
  predict(records: readonly DataRecord[]): Record<string, unknown>[];
  activations(text: string): ActivationMap;
  adapter(baseModel: string): Map<string, Uint8Array>;
  loadAdapter(files: Files | readonly File[]): undefined;
}

/** What happens in a run, by the name of the listener that is told. */
export interface WorkerEvents {
  onStep: [log: StepLog, totalSteps: number];
  onEvaluate: [log: EvaluationLog];
  onSave: [step: number];
  onSkip: [message: string];
  onProgress: [progress: FetchProgress];
}

/** From the page: a call, or what acts on the run at once. */
export type ToWorker =
  | {
      [Name in keyof WorkerCalls]: { id: number; call: Name; argument: Parameters<WorkerCalls[Name]>[0] };
    }[keyof WorkerCalls]
  | { control: 'pause' | 'resume' | 'stop' };

/** From the worker: that it runs, the answer to a call, or an event. */
export type FromWorker =
  | { isReady: true }
  | { id: number; result: unknown }
  | { id: number; error: string; isExpected: boolean }
  | { [Name in keyof WorkerEvents]: { event: Name; values: WorkerEvents[Name] } }[keyof WorkerEvents];
