import { compilePackaged } from '../backend/load-wasm-browser.js';
import { DeftuneError } from '../error.js';
import { inlinedBytes } from '../io/inlined-bytes.js';

/** A worker that runs, and the WebAssembly module that it has to be given; undefined: it finds its own. */
export interface StartedWorker {
  worker: Worker;
  wasm: WebAssembly.Module | undefined;
}

/**
 * Starts the worker of this package: from its file, or, where a bundler has left that behind (esbuild, Rollup), from the copy in a script.
 *
 * @throws DeftuneError where neither runs
 */
export async function startWorker(): Promise<StartedWorker> {
  // Spelled out in this form, so that bundlers find the file.
  const worker = new Worker(new URL('./training-worker.js', import.meta.url), { type: 'module' });
  if (await isRunning(worker)) return { worker, wasm: undefined };
  const { default: text } = await import('../../wasm/worker/inline.js');
  const address = URL.createObjectURL(new Blob([await inlinedBytes(text)], { type: 'text/javascript' }));
  try {
    const copy = new Worker(address);
    if (await isRunning(copy)) return { worker: copy, wasm: await compilePackaged() };
  } finally {
    URL.revokeObjectURL(address);
  }
  throw new DeftuneError(
    'the worker failed: its script could not be loaded, neither from its file nor from a blob: address',
  );
}

/** Whether the script could be loaded: it says that it is ready, or there is an error without a message. */
function isRunning(worker: Worker): Promise<boolean> {
  return new Promise((resolve, reject) => {
    worker.addEventListener(
      'message',
      () => {
        resolve(true);
      },
      { once: true },
    );
    worker.addEventListener(
      'error',
      ({ message }) => {
        worker.terminate();
        if (message) reject(new DeftuneError(`the worker failed: ${message}`));
        else resolve(false);
      },
      { once: true },
    );
  });
}
