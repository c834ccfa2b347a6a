// Our side of bench:train: a BERT-base-shaped model with LoRA of rank 8 on query and value.
// Arguments: activation, density ('' for the random weights' own), precision, lengths as JSON.
import { createBackend, getPeftModel, Trainer } from '../../dist/index.js';
import { buildModel } from '../../dist/models/build-model.js';
import { BERT_BASE, randomBert } from '../random-bert.mjs';
import { peakMemory } from './memory.mjs';
import { serve } from './serve.mjs';

const [activation, density, precision, lengthsJson] = process.argv.slice(2);
const lengths = JSON.parse(lengthsJson);
const config = { ...BERT_BASE, hidden_act: activation };
const backend = await createBackend({ backend: 'native' });
const source = randomBert(config, density === '' ? undefined : Number(density));
const base = buildModel(backend, config, 'config', source, {
  head: 'SequenceClassification',
  numLabels: 2,
  precision,
});
const model = getPeftModel(base, { method: 'lora', r: 8, loraAlpha: 16 });
const trainDataset = lengths.map((length, index) => ({
  inputIds: Array.from({ length }, (_, at) => (index * 7919 + at * 104_729) % config.vocab_size),
  label: index % 2,
}));
let last;
let seed = 0;

await serve({
  describe: () => `deftune, ${backend.isaName()}, ${backend.threads()} threads`,
  /** Seconds of one optimizer step. */
  async step() {
    const args = { maxSteps: 1, batchSize: lengths.length, learningRate: 1e-4, pooledTokensOnly: true, seed: seed++ };
    const result = await new Trainer({ model, trainDataset, args }).train();
    last = result.log[0];
    return last.seconds;
  },
  density: () => last.density,
  memory: peakMemory,
});
