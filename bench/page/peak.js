import { Contestant } from './contestant.js';

/** The limit: a stream of multiply-adds that registers feed (wasm-peak.mjs makes the module). */
export async function open(build) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch(`/${build}-peak.wasm`));
  const rounds = 100_000;
  return new Contestant(`${build} peak`, { peak: () => ({ run: () => instance.exports.run(rounds), calls: rounds }) });
}
