import type { Backend } from './backend.js';

/** What another thread needs to work in the same memory. */
export interface SharedWasm {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** A place in a backend's pool, for one helper. */
  seat(backend: Backend): number;
}

/** Milliseconds after which a helper that has not started is given up. */
const START_LIMIT = 20_000;

// A helper knows nothing but the module: it needs none of the functions that the glue code brings, and being a text it needs no bundler to find it.
const SCRIPT = `'use strict';
let exports;
onmessage = ({ data }) => {
  if (exports === undefined) {
    const imports = {};
    for (const { module, name, kind } of WebAssembly.Module.imports(data.module)) {
      (imports[module] ??= {})[name] = kind === 'memory' ? data.memory : () => undefined;
    }
    exports = new WebAssembly.Instance(data.module, imports).exports;
    exports.__wbindgen_start();
    postMessage('ready');
    return;
  }
  try {
    exports.work(data);
  } catch (error) {
    exports.abandon(data);
    console.error(error);
  }
  close();
};`;

/**
 * Starts up to `count` Web Workers that work for a backend; those that cannot be started are left out, with a warning in the console. They end
 * with the worker that started them, or when the backend is freed.
 */
export async function startHelpers(backend: Backend, shared: SharedWasm, count: number): Promise<void> {
  const address = URL.createObjectURL(new Blob([SCRIPT], { type: 'text/javascript' }));
  try {
    const started = await Promise.allSettled(Array.from({ length: count }, () => startHelper(address, shared)));
    for (const helper of started) {
      if (helper.status === 'fulfilled') helper.value.postMessage(shared.seat(backend));
    }
    const failed = started.find((helper) => helper.status === 'rejected');
    if (failed) {
      console.warn(`deftune: ${backend.threads()} of ${count + 1} threads could be started: ${String(failed.reason)}`);
    }
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** A helper that has joined the memory. */
function startHelper(address: string, { module, memory }: SharedWasm): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const helper = new Worker(address, { name: 'deftune-helper' });
    const fail = (reason: string): void => {
      helper.terminate();
      reject(new Error(reason));
    };
    const limit = setTimeout(() => {
      fail(`a worker has not started in ${START_LIMIT / 1000} s`);
    }, START_LIMIT);
    helper.onmessage = () => {
      clearTimeout(limit);
      resolve(helper);
    };
    helper.onerror = ({ message }) => {
      clearTimeout(limit);
      fail(message || 'a worker from a blob: address is not allowed here');
    };
    helper.postMessage({ module, memory });
  });
}
