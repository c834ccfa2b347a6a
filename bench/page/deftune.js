import { Contestant, numbers } from './contestant.js';

const RELU = 0;

/** deftune's module of one build (`simd128` or `relaxed`), called as the library calls it. */
export async function open(build) {
  const { default: load, WasmBackend } = await import(`/wasm/${build}/deftune_wasm.js`);
  await load();
  return contestantOf(new WasmBackend(1, ''));
}

/** The products of a backend. */
export function contestantOf(backend) {
  const product = (m, k, n, activations) => {
    let x = backend.uploadF32(numbers(m * k, 1, activations ?? 100), m, k);
    // ReLU keeps what is positive: the numbers are made so.
    if (activations !== undefined) {
      const positive = backend.readF32(x).map(Math.abs);
      backend.free(x);
      const pre = backend.uploadF32(positive, m, k);
      const [o] = backend.activate(pre, RELU, 0, 0, 0, 0);
      x = o;
    }
    const weight = backend.uploadF32(numbers(k * n, 2), n, k);
    backend.freezeWeight(weight, 'f32');
    return {
      run: () => backend.free(backend.linear(x, weight, 0)),
      first: () => backend.readF32(backend.linear(x, weight, 0))[0],
      close() {
        for (const handle of [x, weight]) backend.free(handle);
      },
    };
  };
  return new Contestant(backend.isaName(), {
    matmul: (m, k, n) => product(m, k, n),
    sparse: (m, k, n, percent) => product(m, k, n, percent),
  });
}
