import type { Backend } from '../backend/backend.js';

/**
 * Runs `body`; every tensor made in it is freed when it ends, also when it throws, except those that were kept
 * (`backend.keep(handle, levels)`). `body` must not be async: an awaiting scope would catch other code's tensors.
 */
export function scope<T>(backend: Backend, body: () => T): T {
  backend.beginScope();
  try {
    return body();
  } finally {
    backend.endScope();
  }
}
