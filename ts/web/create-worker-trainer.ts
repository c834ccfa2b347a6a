import { DeftuneError } from '../error.js';
import { startWorker } from './start-worker.js';
import type { FromWorker, ToWorker, WorkerCalls, WorkerEvents, WorkerInfo, WorkerJob } from './worker-protocol.js';

/** Told of what happens in the worker. */
export type WorkerListeners = {
  [Name in keyof WorkerEvents]?: ((...values: WorkerEvents[Name]) => void) | undefined;
};

/** A run in a worker, and who is told of it. */
export interface WorkerTrainerOptions extends WorkerJob, WorkerListeners {
  /** Stops the run after the step at hand; a checkpoint is saved where checkpoints are kept. */
  signal?: AbortSignal | undefined;
  /** Starts the worker; default: this package's own file, which bundlers that follow `new Worker(new URL(...))` find by themselves. */
  createWorker?: (() => Worker) | undefined;
}

type Answer<Name extends keyof WorkerCalls> = Promise<ReturnType<WorkerCalls[Name]>>;

/** A model and its run in a Web Worker; what it is asked happens there, and the page stays free. */
export interface WorkerTrainer {
  readonly info: WorkerInfo;
  /** Steps of the run. */
  readonly totalSteps: number;
  /**
   * Runs the training, as `Trainer.train`. @param options.resume go on from the newest checkpoint; from the start where there is none
   * @throws DeftuneError as `Trainer` does
   */
  train(options?: { resume?: boolean }): Answer<'train'>;
  /** Holds the run after the step at hand. The model can be used meanwhile. */
  pause(): void;
  /** Lets a run that was held go on. */
  resume(): void;
  /** Ends the run after the step at hand; what `train` returns says `aborted`. */
  stop(): void;
  /** Scores records with labels, also while the run goes on. */
  evaluate(records: Parameters<WorkerCalls['evaluate']>[0]): Answer<'evaluate'>;
  /** One answer a record, e.g. `{ label, score }`, also while the run goes on. */
  predict(records: Parameters<WorkerCalls['predict']>[0]): Answer<'predict'>;
  /** The MLP activations of a text. */
  activations(text: string): Answer<'activations'>;
  /** The files of the adapter in peft's format as it is now. @param baseModel what they call the model; default `base` */
  adapter(baseModel?: string): Answer<'adapter'>;
  /** Overwrites the adapter with one of the same method and settings. */
  loadAdapter(files: Parameters<WorkerCalls['loadAdapter']>[0]): Answer<'loadAdapter'>;
  /** Ends the worker at once; what it was asked and has not answered fails. */
  terminate(): void;
}

/**
 * Opens a model in a Web Worker, to be trained there: steps, evaluations and downloads are reported to the listeners.
 *
 * @throws DeftuneError where the model, the adapter or the records do not fit, or the worker cannot be started
 */
export async function createWorkerTrainer(options: WorkerTrainerOptions): Promise<WorkerTrainer> {
  const { signal, createWorker, onStep, onEvaluate, onSave, onSkip, onProgress, ...job } = options;
  const { worker, wasm } = createWorker ? { worker: createWorker(), wasm: undefined } : await startWorker();
  const connection = new Connection(worker, { onStep, onEvaluate, onSave, onSkip, onProgress });
  const stop = (): void => {
    connection.control('stop');
  };
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  const terminate = (): void => {
    signal?.removeEventListener('abort', stop);
    connection.end(new DeftuneError('the worker was terminated'));
  };
  let info: WorkerInfo;
  try {
    info = await connection.call('open', {
      ...job,
      model: typeof job.model === 'string' ? absolute(job.model) : job.model,
      wasm: (isAddress(job.wasm) ? absolute(job.wasm) : job.wasm) ?? wasm,
    });
  } catch (error) {
    terminate();
    throw error;
  }
  return {
    info,
    totalSteps: info.totalSteps,
    train: ({ resume = false } = {}) => connection.call('train', { resume }),
    pause: () => {
      connection.control('pause');
    },
    resume: () => {
      connection.control('resume');
    },
    stop,
    evaluate: (records) => connection.call('evaluate', records),
    predict: (records) => connection.call('predict', records),
    activations: (text) => connection.call('activations', text),
    adapter: (baseModel = 'base') => connection.call('adapter', baseModel),
    loadAdapter: (files) => connection.call('loadAdapter', files),
    terminate,
  };
}

function isAddress(source: WorkerJob['wasm']): source is string | URL {
  return typeof source === 'string' || source instanceof URL;
}

/** An address as the page means it: the worker has another base. */
function absolute(address: string | URL): string {
  return new URL(address, globalThis.document?.baseURI ?? globalThis.location?.href).href;
}

/** The page's end of the messages. */
class Connection {
  private readonly waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  private calls = 0;
  private ended: Error | undefined;

  constructor(
    private readonly worker: Worker,
    listeners: WorkerListeners,
  ) {
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
      if ('event' in data) (listeners[data.event] as ((...values: unknown[]) => void) | undefined)?.(...data.values);
      else if ('id' in data) this.settle(data);
    });
    worker.addEventListener('error', ({ message }) => {
      this.end(new DeftuneError(`the worker failed: ${message || 'its script could not be loaded'}`));
    });
  }

  call<Name extends keyof WorkerCalls>(name: Name, argument: Parameters<WorkerCalls[Name]>[0]): Answer<Name> {
    return new Promise((resolve, reject) => {
      if (this.ended) {
        reject(this.ended);
        return;
      }
      const id = (this.calls += 1);
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.worker.postMessage({ id, call: name, argument } as ToWorker);
    });
  }

  control(control: 'pause' | 'resume' | 'stop'): void {
    this.worker.postMessage({ control } satisfies ToWorker);
  }

  end(error: Error): void {
    this.ended ??= error;
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(this.ended);
    this.waiting.clear();
  }

  private settle(answer: Extract<FromWorker, { id: number }>): void {
    const call = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if ('result' in answer) call?.resolve(answer.result);
    else call?.reject(answer.isExpected ? new DeftuneError(answer.error) : new Error(answer.error));
  }
}
