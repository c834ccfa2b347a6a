// Scoring without the logits of all tokens at once says the same as the logits do.
import { noGrad } from '../../ts/autograd/node.js';
import { argmax } from '../../ts/heads/softmax.js';
import { maskedLM } from '../../ts/heads/masked-lm.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { scope } from '../../ts/tensor/scope.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { predict } from '../../ts/train/evaluate.js';
import { Trainer } from '../../ts/train/trainer.js';
import test from 'ava';
import { onEachBackend } from '../backend/on-each-backend.js';
import { FamilyFixture } from './heads-fixture.js';

for (const [name, head] of [
  ['roberta', 'MaskedLM'],
  ['gpt2', 'CausalLM'],
] as const) {
  const family = new FamilyFixture(name);

  onEachBackend(`${name}: losses and hits are those of the logits`, (t, backend) => {
    const model = family.open(backend, head);
    const given = model.head.collate(family.examples(model, head), { info: model.info });
    scope(backend, () => {
      const context = new ForwardContext();
      // Every other label is the likeliest token: a random model would hardly hit.
      const logits = model.forward(given, context);
      const values = logits.toFloats();
      const labels = Int32Array.from(given.labels ?? [], (label, row) =>
        row % 2 ? label : argmax(values.subarray(row * logits.cols, (row + 1) * logits.cols)),
      );
      const batch = { ...given, labels };
      const plain = noGrad(() => model.head.outputs(model.forward(batch, context), batch));
      const fused = model.outputs(batch, context);
      t.is(fused.length, 6);
      fused.forEach(({ loss, weight, correct }, index) => {
        const expected = plain[index] as { loss: number; weight: number; correct: number };
        t.is(weight, expected.weight);
        t.is(correct, expected.correct);
        if (weight > 0) t.true(Math.abs(loss - expected.loss) < 1e-5, `${loss}, expected ${expected.loss}`);
      });
      const hits = fused.reduce((sum, { correct }) => sum + correct, 0);
      t.true(hits >= labels.length / 2 && hits < labels.length, `${hits} of ${labels.length}`);
    });
  });

  onEachBackend(
    `${name}: texts without a label have a density but no loss, and nothing is learned from them`,
    async (t, backend) => {
      const model = getPeftModel(family.open(backend, head), { method: 'full' });
      const short = { inputIds: [7], labelIds: [-100] };
      const { outputs, loss, density } = await predict(model.base, [short, short]);
      t.deepEqual(
        outputs.map(({ weight }) => weight),
        [0, 0],
      );
      t.is(loss, Number.NaN);
      t.true(density > 0.9);
      const before = model.stateDict();
      const args = { maxSteps: 2, batchSize: 1 };
      await new Trainer({ model, trainDataset: [short], args }).train();
      for (const [key, { data }] of model.stateDict()) t.deepEqual(data, before.get(key)?.data, key);
    },
  );
}

test('masks are drawn anew for each batch, at least one a text, never a special token', (t) => {
  const mask = { tokenId: 4, special: [2, 3] };
  const inputIds = [2, ...Array.from({ length: 200 }, (_, index) => 10 + index), 3];
  const examples = [
    { inputIds, mask },
    { inputIds: [2, 9, 3], mask },
  ];
  const info = { maxLength: 512, vocabSize: 300, numLabels: 0, labelNames: [] };
  const draw = (seed: number) => maskedLM.collate(examples, { info, seed });
  const first = draw(1);
  t.deepEqual(draw(1), first);
  t.notDeepEqual(draw(2).outputRows, first.outputRows);
  const [long = 0, both = 0] = Array.from(first.cuOutputs ?? []).slice(1);
  t.true(long > 15 && long < 50, `${long} of 200`);
  t.is(both - long, 1);
  const rows = Array.from(first.outputRows ?? []);
  const original = [...inputIds, 2, 9, 3];
  t.deepEqual(
    rows.map((row) => original[row]),
    Array.from(first.labels ?? []),
  );
  const shown = rows.map((row) => first.inputIds[row] as number);
  const masked = shown.filter((id) => id === 4).length / shown.length;
  t.true(masked > 0.6 && masked < 0.95, `${masked} masked`);
  t.false(rows.some((row) => [2, 3].includes(original[row] as number)));
  original.forEach((id, row) => t.true(rows.includes(row) || first.inputIds[row] === id));
});
