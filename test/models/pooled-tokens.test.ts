// pooledTokensOnly: the last layer has one row of each sequence, and the head reads the same numbers.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Backend } from '../../ts/backend/backend.js';
import type { Model } from '../../ts/models/model.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { getPeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { scope } from '../../ts/tensor/scope.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { agreeOnPooledTokens, examplesOfAny, gradientsOf, openAny, type AnyBatch } from '../peft/any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const FOLDERS: Record<string, string> = { bert: 'bert/relu/model', gpt2: 'gpt2/model', vit: 'vit/model' };
const open = (backend: Backend, family: string, head?: string): Promise<Model> =>
  openAny(backend, family, join(fixtures, FOLDERS[family] as string), head);

/** 0 is the padding token: at the end, within, before and alone. */
const INPUT_IDS = [[7, 12, 5, 0, 0, 0], [9, 0, 31, 8], [0, 4, 22, 0], [0, 0, 0], [6]];
const TEXTS: AnyBatch = { inputIds: INPUT_IDS, labels: [1, 0, 1, 0, 1] };
const IMAGES: AnyBatch = {
  pixelValues: [0, 1, 2].map((image) =>
    [0, 1].map((channel) =>
      Array.from({ length: 12 }, (_, row) =>
        Array.from({ length: 8 }, (_, column) => Math.sin(1 + 50 * image + 30 * channel + 8 * row + column)),
      ),
    ),
  ),
  labels: [1, 0, 1],
};
const METHODS: PeftOptions[] = [
  { method: 'full' },
  { method: 'lora', r: 2, targetModules: 'all-linear' },
  { method: 'bottleneck', reductionFactor: 4 },
  { method: 'prefix-tuning', numVirtualTokens: 3 },
  { method: 'prompt-tuning', numVirtualTokens: 3 },
];

/** Rows that the MLP of each layer saw. */
function mlpRows(model: Model, batch: AnyBatch, pooledTokensOnly: boolean): number[] {
  return scope(model.backend, () => {
    const context = new ForwardContext();
    context.pooledTokensOnly = pooledTokensOnly;
    model.forward(model.head.collate(examplesOfAny(batch), { info: model.info }), context);
    return context.mlps.map(({ out }) => out.rows);
  });
}

for (const [family, batch] of Object.entries({ bert: TEXTS, gpt2: TEXTS, vit: IMAGES })) {
  for (const method of METHODS) {
    onEachBackend(`${family}, ${method.method}: one row of each sequence in the last layer`, async (t, backend) => {
      const { base: model } = getPeftModel(await open(backend, family), { ...method, seed: 1 });
      const size = batch.labels?.length ?? 0;
      const every = mlpRows(model, batch, false);
      const pooled = mlpRows(model, batch, true);
      t.true(every.every((rows) => rows > size));
      t.is(pooled.length, every.length);
      t.true(pooled.slice(0, -1).every((rows) => rows > size));
      t.is(pooled.at(-1), size);
      agreeOnPooledTokens(t, model, batch, gradientsOf(model, batch));
    });
  }
}

onEachBackend('heads that read any token have every row', async (t, backend) => {
  // One label of each text, so that a row of each is asked for.
  const labelIds = [9, 8, 7].map((label) => [-100, label, -100]);
  for (const [head, batch] of Object.entries<AnyBatch>({
    CausalLM: { inputIds: INPUT_IDS.slice(0, 3).map((ids) => ids.slice(0, 3)), labelIds },
    TokenClassification: { inputIds: INPUT_IDS },
    QuestionAnswering: { inputIds: INPUT_IDS },
  })) {
    const model = await open(backend, 'gpt2', head);
    t.deepEqual(mlpRows(model, batch, true), mlpRows(model, batch, false), head);
  }
});
