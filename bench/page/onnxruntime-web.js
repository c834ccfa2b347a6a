import { Contestant, numbers } from './contestant.js';
import { matmulModel } from './onnx-matmul.js';

/** Products a call: the copies of a call's input and output are shared by so many. */
const PRODUCTS = 8;

/** onnxruntime-web's WASM provider on one thread. */
export async function open() {
  const ort = await import('/ort/ort.wasm.min.mjs');
  ort.env.wasm.wasmPaths = '/ort/';
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  return new Contestant(`onnxruntime-web ${ort.env.versions.web}`, {
    async matmul(m, k, n) {
      const weight = numbers(k * n, 2);
      const transposed = new Float32Array(k * n);
      for (let column = 0; column < n; column++) {
        for (let row = 0; row < k; row++) transposed[row * n + column] = weight[column * k + row];
      }
      // Without its optimizer, which would find that all products are one; weights are packed when the session is made all the same.
      const session = await ort.InferenceSession.create(matmulModel(m, k, n, transposed, PRODUCTS), {
        executionProviders: ['wasm'],
        graphOptimizationLevel: 'disabled',
      });
      const feeds = { x: new ort.Tensor('float32', numbers(m * k, 1), [m, k]) };
      const run = () => session.run(feeds, ['y0']);
      return {
        calls: PRODUCTS,
        run,
        first: async () => (await run()).y0.data[0],
        close: () => session.release(),
      };
    },
  });
}
