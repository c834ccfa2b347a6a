import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** Seconds of a down-projection of real activations, with our own kernels. */
export interface KernelGain {
  /** Zeros skipped where that pays. */
  sparse: number;
  /** Of the same activations as plain numbers. */
  dense: number;
}

/** Calls of each; the fastest counts. */
const ROUNDS = 5;

/**
 * Times the down-projection of MLP activations [tokens, dFf] to [tokens, hiddenSize] with and without zero-skip, in turn, with a weight of random
 * numbers: what the measured density gains on this machine, whatever a count of multiply-adds promises.
 */
export function kernelGain(out: Tensor, hiddenSize: number): KernelGain {
  const { backend } = out;
  return scope(backend, () => {
    const values = Float32Array.from(
      { length: hiddenSize * out.cols },
      (_, index) => ((index * 7919) % 1009) / 1009 - 0.5,
    );
    const weight = backend.uploadF32(values, hiddenSize, out.cols);
    const dense = backend.toDense(out.handle);
    const time = (x: number): number => {
      const started = performance.now();
      backend.free(backend.linear(x, weight, 0));
      return (performance.now() - started) / 1000;
    };
    // The first calls pack the weight.
    time(out.handle);
    time(dense);
    const best = { sparse: Infinity, dense: Infinity };
    for (let round = 0; round < ROUNDS; round++) {
      best.sparse = Math.min(best.sparse, time(out.handle));
      best.dense = Math.min(best.dense, time(dense));
    }
    return best;
  });
}
