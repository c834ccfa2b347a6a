// Our side of bench:infer. Argument: precision.
import { createBackend, predict } from '../../dist/index.js';
import { buildModel } from '../../dist/models/build-model.js';
import { BERT_BASE, randomBert } from '../random-bert.mjs';
import { serve } from './serve.mjs';

const [precision] = process.argv.slice(2);
const backend = await createBackend({ backend: 'native' });
const head = { head: 'SequenceClassification', numLabels: 2, precision };
const model = buildModel(backend, BERT_BASE, 'config', randomBert(BERT_BASE), head);

await serve({
  describe: () => `deftune, ${backend.isaName()}, ${backend.threads()} threads`,
  /** Best seconds of three calls. */
  async forward(length) {
    const inputIds = Array.from({ length: Number(length) }, (_, at) => (at * 104_729) % BERT_BASE.vocab_size);
    let best = Infinity;
    for (let call = 0; call < 3; call++) {
      const started = performance.now();
      await predict(model, [{ inputIds }], { pooledTokensOnly: true });
      best = Math.min(best, (performance.now() - started) / 1000);
    }
    return best;
  },
});
