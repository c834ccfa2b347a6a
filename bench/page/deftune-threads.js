/** deftune with a number of threads, in a worker. */
export async function open(threads) {
  const worker = new Worker('/page/deftune-threads-worker.js', { type: 'module' });
  const ask = (question) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(question);
    });
  return { name: await ask(threads), ask, first: () => ask('first') };
}
