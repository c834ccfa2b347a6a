import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';

/**
 * Runs `body`; every tensor made in it is freed when it ends, also when it throws, except those that were kept
 * (`backend.keep(handle, levels)`). `body` must not be async: an awaiting scope would catch other code's tensors.
 *
 * @throws DeftuneError where `body` returns a promise.
 */
export function scope<T>(backend: Backend, body: () => T): T {
  backend.beginScope();
  try {
    const result = body();
    if (result instanceof Promise) {
      // What it goes on to do fails on freed tensors; this error says why.
      result.catch(() => undefined);
      throw new DeftuneError('scope: the body returned a promise, expected a function that does not wait');
    }
    return result;
  } finally {
    backend.endScope();
  }
}
