// Our side of bench:train: a model of random weights with LoRA of rank 8.
// Arguments: name of the step, number of batches, activation, density ('' for the random weights' own), precision, and `profile` where that will be
// asked for.
import { createBackend, getPeftModel, Trainer } from '../../dist/index.js';
import { buildModel } from '../../dist/models/build-model.js';
import { steps } from '../steps.mjs';
import { peakMemory } from './memory.mjs';
import { serve } from './serve.mjs';
import { timedCalls } from './timed-calls.mjs';

const [name, count, activation, density, precision, profile] = process.argv.slice(2);
const { head, config: configOf, source: sourceOf, batches } = steps[name](Number(count));
const config = configOf(activation);
const opened = await createBackend({ backend: 'native' });
const { backend, take } = profile ? timedCalls(opened) : { backend: opened };
const source = sourceOf(config, density === '' ? undefined : Number(density));
const base = buildModel(backend, config, 'config', source, { head, numLabels: 2, precision });
const model = getPeftModel(base, { method: 'lora', r: 8, loraAlpha: 16 });
let last;
let seed = 0;

await serve({
  describe: () => `deftune, ${backend.isaName()}, ${backend.threads()} threads`,
  /** Seconds of an optimizer step, the mean over the batches. */
  async step() {
    let seconds = 0;
    for (const trainDataset of batches) {
      const args = {
        maxSteps: 1,
        batchSize: trainDataset.length,
        learningRate: 1e-4,
        pooledTokensOnly: true,
        seed: seed++,
      };
      const result = await new Trainer({ model, trainDataset, args }).train();
      last = result.log[0];
      seconds += last.seconds;
    }
    return seconds / batches.length;
  },
  /** Calls of the backend in a step of each batch. */
  async profile() {
    take();
    await this.step();
    return JSON.stringify(take());
  },
  density: () => last.density,
  memory: peakMemory,
});
