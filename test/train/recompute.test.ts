// Activation recomputation: the same numbers bit for bit, from less memory at once.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import type { Example } from '../../ts/data/batching.js';
import { Rng } from '../../ts/data/rng.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { AutoModel } from '../../ts/models/auto-model-node.js';
import { getPeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { Trainer } from '../../ts/train/trainer.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const MODELS: Record<string, [folder: string, head: string, example: (rng: Rng) => Example]> = {
  BERT: ['bert/relu/model', 'SequenceClassification', (rng) => ({ inputIds: ids(rng, 18), label: rng.nextBelow(2) })],
  'GPT-2': ['gpt2/model', 'CausalLM', (rng) => withLabels(ids(rng, 20))],
  T5: ['t5/relu/model', 'Seq2SeqLM', (rng) => ({ inputIds: ids(rng, 16), labelIds: ids(rng, 12) })],
  'T5 v1.1': ['t5/gated/model', 'Seq2SeqLM', (rng) => ({ inputIds: ids(rng, 16), labelIds: ids(rng, 12) })],
  ViT: [
    'vit/model',
    'ImageClassification',
    (rng) => ({
      inputIds: [],
      pixelValues: Float32Array.from({ length: 2 * 12 * 8 }, () => rng.nextFloat()),
      label: rng.nextBelow(2),
    }),
  ],
};
const METHODS: PeftOptions[] = [
  { method: 'lora', r: 2, targetModules: 'all-linear', loraDropout: 0.2 },
  { method: 'full' },
];

function ids(rng: Rng, length: number): number[] {
  return Array.from({ length: length - rng.nextBelow(4) }, () => 3 + rng.nextBelow(40));
}

function withLabels(inputIds: number[]): Example {
  return { inputIds, labelIds: inputIds };
}

/** A backend that notes the most bytes that lived at once. */
function metered(backend: Backend): { backend: Backend; peak(): number } {
  let most = 0;
  const proxy = new Proxy(backend, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        most = Math.max(most, target.liveBytes());
        return result;
      };
    },
  });
  return { backend: proxy, peak: () => most };
}

for (const [name, [folder, head, example]] of Object.entries(MODELS)) {
  for (const method of METHODS) {
    test.serial(
      `${name}, ${method.method}: recomputed activations change no bit and live in less memory`,
      async (t) => {
        const rng = new Rng(7, 1);
        const examples = Array.from({ length: 32 }, () => example(rng));
        const run = async (gradientCheckpointing: boolean) => {
          const { backend, peak } = metered(await createBackend({ backend: 'native', threads: 1 }));
          const base = await AutoModel.fromPretrained(join(fixtures, folder), { backend, head, dropout: 0.1, seed: 1 });
          const model = getPeftModel(base, { ...method, seed: 1 });
          const before = backend.liveBytes();
          const trainer = new Trainer({
            model,
            trainDataset: examples,
            args: {
              maxSteps: 3,
              batchSize: 16,
              learningRate: 1e-2,
              gradientCheckpointing,
              gradientAccumulationSteps: 2,
            },
            auxiliaryLosses: [densityLoss({ alpha: 0.1 }, base.info.activation)],
          });
          const { log } = await trainer.train();
          const parameters = [...model.trainableParameters()].map(([key, value]) => [key, value.toFloats()]);
          base.dispose();
          t.is(backend.liveTensors(), 0);
          return { log: log.map((entry) => ({ ...entry, seconds: 0 })), parameters, bytes: peak() - before };
        };
        const [kept, again] = [await run(false), await run(true)];
        t.deepEqual(again.log, kept.log);
        t.deepEqual(again.parameters, kept.parameters);
        t.log(`${kept.bytes} bytes at most above the model, recomputed ${again.bytes}`);
        t.true(again.bytes < 0.85 * kept.bytes, `${again.bytes} against ${kept.bytes} bytes`);
      },
    );
  }
}
