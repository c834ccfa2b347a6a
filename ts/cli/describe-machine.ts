import { cpus } from 'node:os';
import type { Backend } from '../backend/backend.js';

/** One line for reports: processor, instruction set used, threads. */
export function describeMachine(backend: Backend): string {
  const threads = backend.threads();
  return `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${backend.isaName()}, ${threads} thread${threads === 1 ? '' : 's'}`;
}
