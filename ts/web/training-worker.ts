// What runs in the Web Worker behind `createWorkerTrainer`. `deftune/worker` is this file, for pages that start the worker themselves.
import { DeftuneError } from '../error.js';
import type { FromWorker, ToWorker, WorkerCalls } from './worker-protocol.js';
import { WorkerSession } from './worker-session.js';

/** The worker's own global, of which TypeScript's library for pages knows nothing. */
interface WorkerGlobal {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent<ToWorker>) => void): void;
}

const worker = globalThis as unknown as WorkerGlobal;
const session = new WorkerSession((event, ...values) => {
  worker.postMessage({ event, values } as FromWorker);
});

worker.addEventListener('message', ({ data }) => {
  if ('control' in data) session[data.control]();
  else void answer(data);
});

async function answer({ id, call, argument }: Extract<ToWorker, { id: number }>): Promise<void> {
  try {
    const result = await (session[call] as (argument: unknown) => Promise<ReturnType<WorkerCalls[typeof call]>>)(
      argument,
    );
    worker.postMessage({ id, result }, buffersOf(result));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    worker.postMessage({ id, error: message, isExpected: error instanceof DeftuneError });
  }
}

/** Buffers that are moved to the page instead of copied: the files of an adapter, the values of an activation map. */
function buffersOf(result: unknown): Transferable[] {
  const arrays =
    result instanceof Map
      ? [...result.values()]
      : ((result as { layers?: { values: Float32Array }[] } | undefined)?.layers ?? []).map(({ values }) => values);
  return arrays.filter((array) => ArrayBuffer.isView(array)).map(({ buffer }) => buffer as ArrayBuffer);
}

worker.postMessage({ isReady: true });
