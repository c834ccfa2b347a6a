// Gradients of the gates, and what a gate does to the density term of its MLP.
import test from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import { noGrad } from '../../ts/autograd/node.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { densityLoss } from '../../ts/density/density-loss.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { mlpBlocks } from '../../ts/nn/mlp-block.js';
import { gatePenalty } from '../../ts/peft/gate-penalty.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { add } from '../../ts/ops/index.js';
import { scope } from '../../ts/tensor/scope.js';
import { FAMILIES, LORA, examplesFor, open, setGates } from './gated-models.js';

for (const family of Object.keys(FAMILIES)) {
  test(`${family}: gradients of the gates are those of finite differences`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const model = getPeftModel(await open(backend, family), { ...LORA, layerGates: true });
    const { base } = model;
    const gates = mlpBlocks(base).map(({ gate }) => gate?.theta);
    const start = gates.map((_, index) => 0.9 - 0.25 * index);
    const density = densityLoss({ alpha: 0.3, loss: 'l0', eps: 0.1 }, base.info.activation);
    const batch = base.head.collate(examplesFor(family), { info: base.info });
    const [penalty] = gatePenalty(model);
    const run = <T>(body: (loss: ReturnType<typeof base.taskLoss>) => T): T =>
      scope(backend, () => {
        const context = new ForwardContext(true);
        density.prepare?.(context);
        const task = base.taskLoss(batch, context);
        const parts = [task, density.compute(context), penalty?.compute(context) ?? task];
        return body(parts.reduce((sum, part) => add(sum, part)));
      });
    setGates(model, ...start);
    const found = run((loss) => {
      const gradients = backward(loss);
      return gates.map((theta) => (theta ? (backend.readF32(gradients.get(theta) ?? 0)[0] ?? 0) : 0));
    });
    // Small, for ReLU has kinks.
    const step = 1e-3;
    for (const index of gates.keys()) {
      const at = (shift: number): number => {
        setGates(model, ...start.map((value, layer) => value + (layer === index ? shift : 0)));
        return noGrad(() => run((loss) => loss.item()));
      };
      const expected = (at(step) - at(-step)) / (2 * step);
      const wrong = Math.abs((found[index] ?? 0) - expected);
      t.true(wrong <= 5e-3 * Math.max(0.1, Math.abs(expected)), `gate ${index}: ${found[index]}, expected ${expected}`);
    }
    base.dispose();
  });
}

test('the density term of an MLP is weighed by its gate', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const model = getPeftModel(await open(backend, 'BERT'), { ...LORA, layerGates: true });
  const batch = model.base.head.collate(examplesFor('BERT'), { info: model.base.info });
  for (const form of ['feature-map', 'element'] as const) {
    const term = (layerWeights?: number[]): number => {
      const loss = densityLoss({ loss: 'l0', eps: 0.1, form, layerWeights }, 'relu');
      const context = new ForwardContext(true);
      loss.prepare?.(context);
      model.base.taskLoss(batch, context);
      return loss.compute(context).item();
    };
    setGates(model, 1, 1);
    const last = term([0, 1]);
    // The last layer's gate changes no activations.
    setGates(model, 1, 0.5);
    t.true(Math.abs(term([0, 1]) - last / 2) <= 1e-6 * last, form);
    t.true(Math.abs(term() - (term([1, 0]) + last / 2)) <= 1e-6 * last, form);
  }
});
