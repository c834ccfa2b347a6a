// Losses and gradients of LoRA and of the head against PyTorch autograd through transformers and peft, for each density loss and form.
import test from 'ava';
import { onEachBackend } from '../backend/on-each-backend.js';
import {
  VARIANTS,
  auxiliaryLosses,
  gradients,
  maxAbs,
  maxDifference,
  openAdapted,
  readExpected,
} from '../models/bert-fixtures.js';

/** Relative to the loss, or to the largest gradient of the tensor. */
const TOLERANCE = 1e-4;
/**
 * The fixture says how far PyTorch's own f32 gradients are from its f64 ones (with eps 1e-7 the element form's slope changes by 0.05 %
 * when an activation changes by its last bit): two f32 results differ by twice that
 * and more where one rounds products that the other does not (WebAssembly without fused multiply-add: 2.3 times).
 */
const ROUNDING = 4;

/** peft's key of a parameter: modules that are saved whole are copies in peft, under the same name. */
const peftKey = (name: string): string => `base_model.model.${name}`;

for (const variant of VARIANTS) {
  for (const [name, expected] of Object.entries(readExpected(variant).losses)) {
    onEachBackend(`${variant}, density loss ${name}: losses and gradients`, async (t, backend) => {
      const { batch, hiddenAct } = readExpected(variant);
      const model = await openAdapted(backend, variant);
      const losses = auxiliaryLosses(expected.config, expected.alpha, hiddenAct);
      const { outcome, grads } = gradients(model.base, batch, losses);
      for (const key of ['loss', 'taskLoss', 'densityLoss'] as const) {
        const error = Math.abs(outcome[key] - expected[key]);
        t.true(error <= TOLERANCE * Math.abs(expected[key]), `${key} ${outcome[key]}, expected ${expected[key]}`);
      }
      const found = new Map([...grads].map(([parameter, gradient]) => [peftKey(parameter), gradient]));
      t.deepEqual([...found.keys()].sort(), Object.keys(expected.grads).sort());
      for (const [key, gradient] of Object.entries(expected.grads)) {
        const error = maxDifference(found.get(key) ?? [], gradient);
        const limit = Math.max(TOLERANCE * maxAbs(gradient), ROUNDING * expected.maxAbsGradDiffFloat64);
        t.true(error <= limit, `${key}: off by ${error}, at most ${limit} allowed (largest ${maxAbs(gradient)})`);
      }
    });
  }
}

test('the density losses of the fixtures are not negligible', (t) => {
  for (const variant of VARIANTS) {
    const { losses } = readExpected(variant);
    const plain = losses['none']?.grads ?? {};
    for (const [name, { grads, config }] of Object.entries(losses)) {
      if (!config) continue;
      const change = Math.max(
        ...Object.entries(grads).map(([key, gradient]) => maxDifference(gradient, plain[key] ?? [])),
      );
      t.true(change > 1e-3, `${variant} ${name}: the gradients change by ${change} only`);
    }
  }
});
