import { Contestant, numbers } from './contestant.js';

const script = (address) =>
  new Promise((resolve, reject) => {
    const element = document.createElement('script');
    element.src = address;
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${address} could not be loaded`));
    document.head.append(element);
  });

/** TensorFlow.js with its WASM backend (simd128) on one thread. */
export async function open() {
  await script('/tfjs-core/tf-core.min.js');
  await script('/tfjs-wasm/tf-backend-wasm.min.js');
  const { tf } = globalThis;
  tf.wasm.setWasmPaths('/tfjs-wasm/');
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  await tf.setBackend('wasm');
  await tf.ready();
  return new Contestant(`tfjs-wasm ${tf.version_core}`, {
    matmul(m, k, n) {
      const x = tf.tensor2d(numbers(m * k, 1), [m, k]);
      const weight = tf.tidy(() => tf.transpose(tf.tensor2d(numbers(k * n, 2), [n, k])));
      const product = () => tf.matMul(x, weight);
      return {
        run: () => product().dispose(),
        first: async () => (await product().data())[0],
        close: () => tf.dispose([x, weight]),
      };
    },
  });
}
