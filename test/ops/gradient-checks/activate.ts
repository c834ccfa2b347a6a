import type { Backend } from '../../../ts/backend/backend.js';
import { activationKind } from '../../../ts/ops/activation-kind.js';
import { elementLosses } from '../../../ts/ops/element-loss.js';
import * as ops from '../../../ts/ops/index.js';
import { Tensor } from '../../../ts/tensor/tensor.js';
import { awayFromZero, uniform, type GradientChecks } from '../gradient-check.js';
import { ACTIVATIONS, KINKED } from './activations.js';
import { BLOCK, mixedDensity, pick, type Inputs } from './case-inputs.js';

export const ACTIVATE: GradientChecks = {
  activate: [
    ...ACTIVATIONS.map((name, index) => ({
      title: `${name}, all three outputs`,
      inputs: { pre: awayFromZero([5, 7], 80 + index, 2) },
      run: (_: Backend, inputs: Inputs) => {
        const { out, featureMap, elementMean } = ops.activate(pick(inputs, 'pre'), activationKind(name), {
          element: elementLosses.l0(0.5),
        });
        return [out, featureMap, elementMean];
      },
    })),
    {
      title: 'relu in compact and dense blocks, all three outputs',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 87) },
      samples: 200,
      run: (_, inputs) => {
        const { out, featureMap, elementMean } = ops.activate(pick(inputs, 'pre'), activationKind('relu'), {
          element: elementLosses.l0(0.5),
        });
        return [out, featureMap, elementMean];
      },
    },
    {
      title: 'relu, the feature map alone',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 88) },
      samples: 200,
      run: (_, inputs) => [ops.activate(pick(inputs, 'pre'), activationKind('relu')).featureMap],
    },
    {
      title: 'relu, the element-wise mean alone',
      inputs: { pre: awayFromZero([3, 4], 89) },
      run: (_, inputs) => [
        ops.activate(pick(inputs, 'pre'), activationKind('relu'), { element: elementLosses.l0(0.5) }).elementMean,
      ],
    },
    ...(
      [
        ['gelu', elementLosses.l1, 0],
        ['relu', elementLosses.l1, 0],
        ['gelu', elementLosses.hoyer, 0],
        ['relu', elementLosses.hoyer, 0],
        ['gelu', elementLosses.hinge(0.77, 0.33), 0],
        ['silu', elementLosses.hinge(0.77, 0.33), 0.07],
        ['gelu', elementLosses.hoyer, 0.07],
        ['relu', elementLosses.l1, 0.07],
      ] as const
    ).map(([name, element, cutoff], index) => ({
      title: `${name}, element loss ${element.index}, cutoff ${cutoff}, in two blocks`,
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 300 + index) },
      samples: 150,
      run: (_: Backend, inputs: Inputs) => {
        const { out, featureMap, elementMean } = ops.activate(pick(inputs, 'pre'), activationKind(name), {
          element,
          cutoff,
        });
        // The mean of over a thousand elements has small derivatives.
        return [out, featureMap, ops.scale(elementMean, 100)];
      },
      kinks: (backend: Backend, inputs: Inputs) =>
        kinkSigns(backend, pick(inputs, 'pre'), activationKind(name), cutoff),
    })),
    {
      title: 'gelu, feature map and element-wise mean',
      inputs: { pre: uniform([3, 4], 90) },
      run: (_, inputs) => {
        const { featureMap, elementMean } = ops.activate(pick(inputs, 'pre'), activationKind('gelu'), {
          element: elementLosses.l0(0.5),
        });
        return [featureMap, elementMean];
      },
    },
  ],
  gatedActivate: [
    ...([0, 0.07] as const).map((cutoff) => ({
      title: `gelu with a hinge, cutoff ${cutoff}`,
      inputs: { pre: awayFromZero([5, 7], 320, 2), up: awayFromZero([5, 7], 321) },
      run: (_: Backend, inputs: Inputs) => {
        const [pre, up] = [pick(inputs, 'pre'), pick(inputs, 'up')];
        const options = { element: elementLosses.hinge(0.77, 0.33), cutoff };
        const { out, elementMean } = ops.gatedActivate(pre, up, activationKind('gelu'), options);
        return [out, elementMean];
      },
      kinks: (backend: Backend, inputs: Inputs) => {
        const product = ops.mul(ops.activation(pick(inputs, 'pre'), activationKind('gelu')), pick(inputs, 'up'));
        const signs = [...pick(inputs, 'pre').toFloats()].flatMap((z) => [z + 0.77, z - 0.33]);
        const cuts = [...product.toFloats()].map((o) => Math.abs(o) - cutoff);
        return Tensor.fromFloats(backend, [...signs, ...cuts], [1, signs.length + cuts.length]);
      },
    })),
    ...ACTIVATIONS.map((name, index) => ({
      title: `${name}, all three outputs`,
      inputs: { pre: awayFromZero([5, 7], 190 + index, 2), up: uniform([5, 7], 200 + index) },
      run: (_: Backend, inputs: Inputs) => {
        const [pre, up] = [pick(inputs, 'pre'), pick(inputs, 'up')];
        const { out, featureMap, elementMean } = ops.gatedActivate(pre, up, activationKind(name), {
          element: elementLosses.l0(0.5),
        });
        return [out, featureMap, elementMean];
      },
    })),
    {
      title: 'relu in compact and dense blocks, then the down-projection',
      inputs: {
        pre: mixedDensity(BLOCK + 9, 20, 210),
        up: awayFromZero([BLOCK + 9, 20], 211),
        weight: uniform([6, 20], 212),
      },
      samples: 200,
      run: (_, inputs) => {
        const [pre, up] = [pick(inputs, 'pre'), pick(inputs, 'up')];
        const { out, featureMap, elementMean } = ops.gatedActivate(pre, up, activationKind('relu'), {
          element: elementLosses.l0(0.5),
        });
        return [ops.linear(out, pick(inputs, 'weight')), featureMap, elementMean];
      },
    },
    {
      title: 'relu, where the second factor is zero',
      inputs: { pre: mixedDensity(BLOCK, 20, 213), up: { shape: [BLOCK, 20], values: new Float32Array(BLOCK * 20) } },
      samples: 200,
      run: (_, inputs) => [ops.gatedActivate(pick(inputs, 'pre'), pick(inputs, 'up'), activationKind('relu')).out],
    },
    {
      title: 'gelu, the feature map alone',
      inputs: { pre: uniform([5, 7], 214), up: uniform([5, 7], 215) },
      run: (_, inputs) => [
        ops.gatedActivate(pick(inputs, 'pre'), pick(inputs, 'up'), activationKind('gelu')).featureMap,
      ],
    },
  ],
  linearActivate: [
    ...ACTIVATIONS.map((name, index) => ({
      title: `${name}, all three outputs`,
      inputs: {
        x: uniform([4, 6], 100 + index),
        weight: uniform([5, 6], 110 + index),
        bias: uniform([5], 120 + index),
      },
      run: (_: Backend, inputs: Inputs) => {
        const [x, weight, bias] = ['x', 'weight', 'bias'].map((key) => pick(inputs, key)) as [Tensor, Tensor, Tensor];
        const { out, featureMap, elementMean } = ops.linearActivate(x, weight, bias, activationKind(name), {
          element: elementLosses.l0(0.5),
        });
        return [out, featureMap, elementMean];
      },
      ...(KINKED.includes(name) ? { kinks: preActivation } : {}),
    })),
    ...['relu', 'gelu'].map((name) => ({
      title: `${name}, without bias, two blocks, followed by the down-projection`,
      inputs: {
        x: uniform([BLOCK + 5, 6], 130),
        // Mostly negative products for rows of positive sum: some neurons are rare.
        weight: uniform([9, 6], 131, 0.5),
        down: uniform([4, 9], 132),
      },
      samples: 60,
      run: (_: Backend, inputs: Inputs) => {
        const kind = activationKind(name);
        const { out, featureMap } = ops.linearActivate(pick(inputs, 'x'), pick(inputs, 'weight'), undefined, kind);
        return [ops.linear(out, pick(inputs, 'down')), featureMap];
      },
      ...(KINKED.includes(name) ? { kinks: preActivation } : {}),
    })),
    ...(['relu', 'gelu'] as const).map((name) => ({
      title: `${name}, cutoff 0.07`,
      inputs: { x: uniform([3, 6], 136), weight: uniform([5, 6], 137), bias: uniform([5], 138) },
      run: (_: Backend, inputs: Inputs) => {
        const [x, weight, bias] = ['x', 'weight', 'bias'].map((key) => pick(inputs, key)) as [Tensor, Tensor, Tensor];
        const { out, featureMap } = ops.linearActivate(x, weight, bias, activationKind(name), { cutoff: 0.07 });
        return [out, featureMap];
      },
      kinks: (backend: Backend, inputs: Inputs) =>
        kinkSigns(backend, preActivation(backend, inputs), activationKind(name), 0.07),
    })),
    {
      title: 'relu, sparse enough for compact blocks',
      inputs: {
        x: uniform([BLOCK + 5, 6], 133),
        weight: uniform([20, 6], 134, 0.5),
        bias: { shape: [20], values: Float32Array.from({ length: 20 }, (_, i) => (i % 10 === 0 ? 0.5 : -2)) },
        down: uniform([4, 20], 135),
      },
      samples: 80,
      run: (_, inputs) => {
        const [x, weight, bias] = ['x', 'weight', 'bias'].map((key) => pick(inputs, key)) as [Tensor, Tensor, Tensor];
        const { out, featureMap, elementMean } = ops.linearActivate(x, weight, bias, activationKind('relu'), {
          element: elementLosses.l0(0.5),
        });
        return [ops.linear(out, pick(inputs, 'down')), featureMap, elementMean];
      },
      kinks: preActivation,
    },
    {
      title: 'relu, on MLP activations',
      inputs: { pre: awayFromZero([6, 5], 136), weight: uniform([4, 5], 137), bias: uniform([4], 138) },
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('gelu'));
        return [ops.linearActivate(out, pick(inputs, 'weight'), pick(inputs, 'bias'), activationKind('relu')).out];
      },
      kinks: (backend, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('gelu'));
        return preActivation(backend, { ...inputs, x: out });
      },
    },
  ],
};

/** Changes of sign where an output crosses 0 or the cutoff, or its input an end of the hinge. */
function kinkSigns(backend: Backend, pre: Tensor, kind: number, cutoff: number): Tensor {
  const z = pre.toFloats();
  const o = ops.activation(pre, kind).toFloats();
  const signs = [...z].flatMap((value, index) => [
    value + 0.77,
    value - 0.33,
    o[index] as number,
    Math.abs(o[index] as number) - cutoff,
  ]);
  return Tensor.fromFloats(backend, signs, [1, signs.length]);
}

/** x · Wᵀ + b of inputs with these names. */
function preActivation(_: Backend, inputs: Inputs): Tensor {
  return ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'), inputs['bias']);
}
