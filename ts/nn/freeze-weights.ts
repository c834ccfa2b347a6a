import { Embedding } from './embedding.js';
import { Linear } from './linear.js';
import type { Module } from './module.js';
import type { Parameter } from './parameter.js';

/** How the weights of frozen linear layers are stored; every product accumulates in f32. */
export type Precision = 'f32' | 'bf16';

/**
 * Keeps the weights of linear layers that need no gradient in packed form only: in `bf16` they are rounded and take half the memory.
 * Weights that are also embeddings stay as they are, and so does everything trainable. Does nothing the second time.
 */
export function freezeWeights(module: Module, precision: Precision): void {
  const modules = module.modules();
  const tables = new Set<Parameter>(modules.flatMap((child) => (child instanceof Embedding ? [child.weight] : [])));
  for (const child of modules) {
    if (!(child instanceof Linear) || tables.has(child.weight)) continue;
    if (child.weight.requiresGrad || !child.weight.isLoaded) continue;
    child.weight.backend.freezeWeight(child.weight.handle, precision);
  }
}
