import type { Backend } from '../../ts/backend/backend.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import * as ops from '../../ts/ops/index.js';
import { elementLosses } from '../../ts/ops/element-loss.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { awayFromZero, uniform, type GradientCase, type Input } from './gradient-check.js';

const ACTIVATIONS = [
  ...['relu', 'gelu', 'gelu_new', 'silu', 'tanh', 'identity'],
  ...['quick_gelu', 'sigmoid', 'leaky_relu', 'relu2', 'relu6', 'mish'],
];

/** Those without a derivative (or a second one) at 0. */
const KINKED: readonly string[] = ['relu', 'leaky_relu', 'relu2', 'relu6'];

/** Rows of a block of MLP activations; more rows than this make several blocks. */
const BLOCK = 48;

const ints = (backend: Backend, values: readonly number[]): Tensor => Tensor.fromInts(backend, values);

type Inputs = Readonly<Record<string, Tensor>>;
const pick = (inputs: Inputs, name: string): Tensor => inputs[name] as Tensor;

/** MLP activations with few non-zeros in the first block and many in the second, so that one is compact and one dense. */
function mixedDensity(rows: number, cols: number, seed: number): Input {
  const { values } = awayFromZero([rows, cols], seed);
  return {
    shape: [rows, cols],
    values: values.map((value, index) => {
      const isSparse = index < BLOCK * cols && index % 11 !== 0;
      return isSparse ? -Math.abs(value) : value;
    }),
  };
}

function lora(
  title: string,
  x: Input,
  bias: boolean,
  options: { p?: number; activations?: boolean; samples?: number } = {},
): GradientCase {
  const [inFeatures = 0] = x.shape.slice(-1);
  const { p, activations = false, samples } = options;
  return {
    title,
    ...(samples === undefined ? {} : { samples }),
    inputs: {
      x,
      weight: uniform([5, inFeatures], 31),
      ...(bias ? { bias: uniform([5], 32) } : {}),
      loraA: uniform([2, inFeatures], 33),
      loraB: uniform([5, 2], 34),
    },
    run: (_, inputs) => {
      const input = activations ? ops.activate(pick(inputs, 'x'), activationKind('relu')).out : pick(inputs, 'x');
      const dropout = p === undefined ? undefined : { p, seed: 3, stream: 4 };
      const factors = [pick(inputs, 'loraA'), pick(inputs, 'loraB')] as const;
      return [ops.loraLinear(input, pick(inputs, 'weight'), inputs['bias'], ...factors, 0.75, dropout)];
    },
    ...(activations ? { kinks: (_: Backend, inputs: Inputs) => pick(inputs, 'x') } : {}),
  };
}

/** W, A and B are no inputs here: the norm depends on them and counts as constant. `dora-linear.test.ts` checks their gradients. */
function dora(
  title: string,
  x: Input,
  bias: boolean,
  options: { p?: number; activations?: boolean } = {},
): GradientCase {
  const [inFeatures = 0] = x.shape.slice(-1);
  const { p, activations = false } = options;
  return {
    title,
    ...(activations ? { samples: 150 } : {}),
    inputs: { x, ...(bias ? { bias: uniform([5], 225) } : {}), magnitude: uniform([5], 226) },
    run: (backend, inputs) => {
      const input = activations ? ops.activate(pick(inputs, 'x'), activationKind('relu')).out : pick(inputs, 'x');
      const constant = (shape: readonly number[], seed: number): Tensor =>
        Tensor.fromFloats(backend, uniform(shape, seed).values, shape);
      const [weight, loraA, loraB] = [
        constant([5, inFeatures], 227),
        constant([2, inFeatures], 228),
        constant([5, 2], 229),
      ];
      const dropout = p === undefined ? undefined : { p, seed: 3, stream: 4 };
      return [ops.doraLinear(input, weight, inputs['bias'], loraA, loraB, pick(inputs, 'magnitude'), 0.75, dropout)];
    },
  };
}

function attentionCase(
  title: string,
  cuQ: readonly number[],
  cuK: readonly number[],
  options: {
    causal?: boolean;
    p?: number;
    heads?: number;
    headDim?: number;
    bias?: { bidirectional: boolean; unbiasedKeys?: number };
  },
): GradientCase {
  const { causal = false, p, heads = 2, headDim = 3, bias } = options;
  const width = heads * headDim;
  return {
    title,
    inputs: {
      q: uniform([cuQ.at(-1) ?? 0, width], 41),
      k: uniform([cuK.at(-1) ?? 0, width], 42),
      v: uniform([cuK.at(-1) ?? 0, width], 43),
      ...(bias ? { table: uniform([6, heads], 44) } : {}),
    },
    run: (backend, inputs) => [
      ops.attention(pick(inputs, 'q'), pick(inputs, 'k'), pick(inputs, 'v'), ints(backend, cuQ), ints(backend, cuK), {
        heads,
        scale: 1 / Math.sqrt(headDim),
        causal,
        ...(p === undefined ? {} : { dropout: { p, seed: 7, stream: 8 } }),
        ...(bias ? { relativeBias: { table: pick(inputs, 'table'), maxDistance: 5, ...bias } } : {}),
      }),
    ],
  };
}

/** Cases of each export of ts/ops/index.ts: a test fails for one that is missing here. */
export const GRADIENT_CHECKS: Readonly<Record<string, readonly GradientCase[]>> = {
  add: [
    {
      title: 'two inputs',
      inputs: { a: uniform([3, 5], 1), b: uniform([3, 5], 2) },
      run: (_, inputs) => [ops.add(pick(inputs, 'a'), pick(inputs, 'b'))],
    },
    {
      title: 'MLP activations used twice',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 235), weight: uniform([20, 20], 236) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        const [y, z] = [ops.linear(out, pick(inputs, 'weight')), ops.linear(out, pick(inputs, 'weight'))];
        return [ops.add(ops.add(y, z), ops.add(out, out))];
      },
    },
    {
      title: 'a summed gradient passed on to two inputs, one of which gets more before the other is used',
      inputs: { x: uniform([2, 3], 237) },
      run: (_, inputs) => {
        const x = ops.scale(pick(inputs, 'x'), 2);
        const [first, second] = [ops.mul(x, x), ops.scale(x, 3)];
        const sum = ops.add(ops.add(x, first), second);
        return [ops.mul(sum, sum)];
      },
    },
    {
      title: 'an input used twice, its gradients added up',
      inputs: { a: uniform([2, 3], 3), b: uniform([2, 3], 4) },
      run: (_, inputs) => {
        const sum = ops.add(pick(inputs, 'a'), pick(inputs, 'b'));
        return [ops.add(ops.add(sum, sum), ops.add(sum, pick(inputs, 'a')))];
      },
    },
  ],
  scale: [
    {
      title: 'a factor',
      inputs: { x: uniform([3, 5], 5) },
      run: (_, inputs) => [ops.scale(pick(inputs, 'x'), -1.75)],
    },
  ],
  mul: [
    {
      title: 'two inputs',
      inputs: { a: uniform([3, 5], 6), b: uniform([3, 5], 7) },
      run: (_, inputs) => [ops.mul(pick(inputs, 'a'), pick(inputs, 'b'))],
    },
    {
      title: 'a square',
      inputs: { a: uniform([3, 5], 8) },
      run: (_, inputs) => [ops.mul(pick(inputs, 'a'), pick(inputs, 'a'))],
    },
  ],
  div: [
    {
      title: 'two inputs',
      inputs: { a: uniform([3, 5], 216), b: awayFromZero([3, 5], 217, 2, 1) },
      run: (_, inputs) => [ops.div(pick(inputs, 'a'), pick(inputs, 'b'))],
    },
  ],
  activation: ACTIVATIONS.map((name, index) => ({
    title: name,
    inputs: { x: awayFromZero([3, 7], 10 + index, 3) },
    run: (_, inputs) => [ops.activation(pick(inputs, 'x'), activationKind(name))],
  })),
  gatherRows: [
    {
      title: 'rows taken once, several times and never',
      inputs: { table: uniform([6, 3], 20) },
      run: (backend, inputs) => [ops.gatherRows(pick(inputs, 'table'), ints(backend, [4, 0, 4, 5, 4]))],
    },
  ],
  dropout: [
    {
      title: 'p 0.4',
      inputs: { x: uniform([5, 7], 21) },
      run: (_, inputs) => [ops.dropout(pick(inputs, 'x'), { p: 0.4, seed: 1, stream: 2 })],
    },
    {
      title: 'MLP activations in compact and dense blocks, then the down-projection',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 181), weight: uniform([6, 20], 182) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(ops.dropout(out, { p: 0.4, seed: 1, stream: 2 }), pick(inputs, 'weight'))];
      },
    },
  ],
  dropoutAdd: [
    {
      title: 'p 0.4',
      inputs: { x: uniform([5, 7], 22), residual: uniform([5, 7], 23) },
      run: (_, inputs) => [ops.dropoutAdd(pick(inputs, 'x'), pick(inputs, 'residual'), { p: 0.4, seed: 1, stream: 2 })],
    },
  ],
  layerNorm: [
    {
      title: 'odd width',
      inputs: { x: uniform([4, 7], 24, 2), gamma: uniform([7], 25), beta: uniform([7], 26) },
      run: (_, inputs) => [ops.layerNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), pick(inputs, 'beta'), 1e-5)],
    },
    {
      title: 'more rows than a chunk of the reduction',
      inputs: { x: uniform([130, 19], 27, 2), gamma: uniform([19], 28), beta: uniform([19], 29) },
      samples: 40,
      run: (_, inputs) => [ops.layerNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), pick(inputs, 'beta'), 1e-5)],
    },
  ],
  addLayerNorm: [0, 0.4].map((p) => ({
    title: `p ${p}`,
    inputs: {
      x: uniform([60, 7], 190, 2),
      residual: uniform([60, 7], 191, 2),
      gamma: uniform([7], 192),
      beta: uniform([7], 193),
    },
    samples: 40,
    run: (_, inputs) => {
      const [x, residual] = [pick(inputs, 'x'), pick(inputs, 'residual')];
      const drop = { p, seed: 1, stream: 2 };
      return [ops.addLayerNorm(x, residual, pick(inputs, 'gamma'), pick(inputs, 'beta'), 1e-5, drop)];
    },
  })),
  rmsNorm: [
    {
      title: 'odd width',
      inputs: { x: uniform([4, 7], 160, 2), gamma: uniform([7], 161) },
      run: (_, inputs) => [ops.rmsNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), 0.25)],
    },
    {
      title: 'more rows than a chunk of the reduction',
      inputs: { x: uniform([130, 19], 162, 2), gamma: uniform([19], 163) },
      samples: 40,
      run: (_, inputs) => [ops.rmsNorm(pick(inputs, 'x'), pick(inputs, 'gamma'), 1e-6)],
    },
  ],
  concatSequences: [
    {
      title: 'one sequence empty in front',
      inputs: { a: uniform([5, 3], 164), b: uniform([6, 3], 165) },
      run: (backend, inputs) => [
        ops.concatSequences(
          pick(inputs, 'a'),
          pick(inputs, 'b'),
          ints(backend, [0, 2, 2, 5]),
          ints(backend, [0, 1, 4, 6]),
        ),
      ],
    },
  ],
  prependRows: [
    {
      title: 'two rows before three sequences',
      inputs: { prefix: uniform([2, 5], 166), x: uniform([7, 5], 167) },
      run: (backend, inputs) => [
        ops.prependRows(pick(inputs, 'prefix'), pick(inputs, 'x'), ints(backend, [0, 3, 4, 7])),
      ],
    },
    {
      title: 'virtual keys and values in causal attention',
      inputs: {
        x: uniform([5, 4], 168),
        prefixKeys: uniform([3, 4], 169),
        prefixValues: uniform([3, 4], 170),
      },
      run: (backend, inputs) => {
        const x = pick(inputs, 'x');
        const cu = ints(backend, [0, 2, 5]);
        const k = ops.prependRows(pick(inputs, 'prefixKeys'), x, cu);
        const v = ops.prependRows(pick(inputs, 'prefixValues'), x, cu);
        return [ops.attention(x, k, v, cu, ints(backend, [0, 5, 11]), { heads: 2, scale: 0.7, causal: true })];
      },
    },
  ],
  splitCols: [
    {
      title: 'three parts',
      inputs: { x: uniform([4, 9], 171) },
      run: (_, inputs) => ops.splitCols(pick(inputs, 'x'), [2, 4, 3]),
    },
    {
      title: 'one part unused',
      inputs: { x: uniform([4, 9], 172) },
      run: (_, inputs) => ops.splitCols(pick(inputs, 'x'), [2, 4, 3]).slice(1),
    },
  ],
  concatCols: [
    {
      title: 'three matrices',
      inputs: { a: uniform([4, 2], 173), b: uniform([4, 5], 174), c: uniform([4, 1], 175) },
      run: (_, inputs) => [ops.concatCols([pick(inputs, 'a'), pick(inputs, 'b'), pick(inputs, 'c')])],
    },
  ],
  scaleCols: [
    {
      title: 'plain values',
      inputs: { x: uniform([5, 7], 176), factors: uniform([7], 177) },
      run: (_, inputs) => [ops.scaleCols(pick(inputs, 'x'), pick(inputs, 'factors'))],
    },
    {
      title: 'MLP activations in compact and dense blocks, then the down-projection',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 178), factors: uniform([20], 179), weight: uniform([6, 20], 180) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(ops.scaleCols(out, pick(inputs, 'factors')), pick(inputs, 'weight'))];
      },
    },
  ],
  linear: [
    {
      title: 'with bias',
      inputs: { x: uniform([4, 6], 50), weight: uniform([5, 6], 51), bias: uniform([5], 52) },
      run: (_, inputs) => [ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'), pick(inputs, 'bias'))],
    },
    {
      title: 'without bias, one row',
      inputs: { x: uniform([1, 6], 53), weight: uniform([5, 6], 54) },
      run: (_, inputs) => [ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'))],
    },
    {
      title: 'sizes past the edges of the tiles',
      inputs: { x: uniform([53, 76], 55), weight: uniform([36, 76], 56), bias: uniform([36], 57) },
      samples: 30,
      run: (_, inputs) => [ops.linear(pick(inputs, 'x'), pick(inputs, 'weight'), pick(inputs, 'bias'))],
    },
    {
      title: 'on MLP activations in compact and dense blocks',
      inputs: { pre: mixedDensity(BLOCK + 9, 20, 58), weight: uniform([6, 20], 59), bias: uniform([6], 60) },
      samples: 150,
      run: (_, inputs) => [
        ops.linear(
          ops.activate(pick(inputs, 'pre'), activationKind('relu')).out,
          pick(inputs, 'weight'),
          pick(inputs, 'bias'),
        ),
      ],
    },
    {
      title: 'twice on the same MLP activations',
      inputs: { pre: mixedDensity(BLOCK + 2, 8, 61), weight: uniform([3, 8], 62) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(out, pick(inputs, 'weight')), ops.linear(out, pick(inputs, 'weight'))];
      },
    },
    {
      title: 'and the MLP activations themselves are used',
      inputs: { pre: mixedDensity(BLOCK + 2, 8, 63), weight: uniform([3, 8], 64) },
      samples: 150,
      run: (_, inputs) => {
        const { out } = ops.activate(pick(inputs, 'pre'), activationKind('relu'));
        return [ops.linear(out, pick(inputs, 'weight')), out];
      },
    },
  ],
  loraLinear: [
    lora('with bias', uniform([4, 6], 70), true),
    lora('without bias', uniform([4, 6], 71), false),
    lora('with dropout', uniform([4, 6], 72), true, { p: 0.3 }),
    lora('with dropout of probability 0', uniform([4, 6], 73), true, { p: 0 }),
    lora('on MLP activations', mixedDensity(BLOCK + 9, 12, 74), true, { activations: true, samples: 150 }),
    lora('on MLP activations with dropout', mixedDensity(BLOCK + 9, 12, 75), true, {
      p: 0.3,
      activations: true,
      samples: 150,
    }),
  ],
  doraLinear: [
    dora('with bias', uniform([4, 6], 220), true),
    dora('without bias', uniform([4, 6], 221), false),
    dora('with dropout', uniform([4, 6], 222), true, { p: 0.3 }),
    dora('on MLP activations', mixedDensity(BLOCK + 9, 12, 223), true, { activations: true }),
    dora('on MLP activations with dropout', mixedDensity(BLOCK + 9, 12, 224), true, { p: 0.3, activations: true }),
  ],
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
  attention: [
    attentionCase('ragged self-attention', [0, 3, 4, 8], [0, 3, 4, 8], {}),
    attentionCase('causal', [0, 3, 4, 8], [0, 3, 4, 8], { causal: true }),
    attentionCase('cross-attention, other lengths of keys', [0, 2, 5], [0, 4, 5], {}),
    attentionCase('with dropout', [0, 3, 8], [0, 3, 8], { p: 0.3 }),
    attentionCase('causal with cached keys, one query a sequence', [0, 1, 2], [0, 4, 6], { causal: true }),
    attentionCase('relative bias of an encoder', [0, 9, 12], [0, 9, 12], { bias: { bidirectional: true } }),
    attentionCase('relative bias of a decoder with cached keys', [0, 1, 3], [0, 8, 11], {
      causal: true,
      bias: { bidirectional: false },
    }),
    attentionCase('relative bias with virtual keys and dropout', [0, 4, 6], [0, 6, 10], {
      p: 0.3,
      bias: { bidirectional: true, unbiasedKeys: 2 },
    }),
    attentionCase('three heads of width 12', [0, 1, 4], [0, 1, 4], { heads: 3, headDim: 12 }),
  ],
  densityValue: (['tanh', 'l0'] as const).map((kind, index) => ({
    title: `${kind}, two maps`,
    inputs: { first: uniform([1, 7], 140 + index), second: uniform([1, 3], 142 + index) },
    run: (_, inputs) => [
      ops.densityValue([pick(inputs, 'first'), pick(inputs, 'second')], kind, kind === 'tanh' ? 1.5 : 0.5, 0.25),
    ],
  })),
  crossEntropy: [
    {
      title: 'three classes, one row ignored',
      inputs: { logits: uniform([4, 3], 150, 2) },
      run: (backend, inputs) => [ops.crossEntropy(pick(inputs, 'logits'), ints(backend, [2, -100, 0, 1]))],
    },
    {
      title: 'smoothed labels',
      inputs: { logits: uniform([4, 3], 153, 2) },
      run: (backend, inputs) => [ops.crossEntropy(pick(inputs, 'logits'), ints(backend, [2, -100, 0, 1]), 0.3)],
    },
    {
      title: 'followed by a scale',
      inputs: { logits: uniform([2, 5], 151, 2) },
      run: (backend, inputs) => [ops.scale(ops.crossEntropy(pick(inputs, 'logits'), ints(backend, [4, 0])), 3)],
    },
  ],
  linearCrossEntropy: [
    {
      title: 'with bias, one row ignored',
      inputs: { hidden: uniform([5, 6], 230), weight: uniform([7, 6], 231), bias: uniform([7], 232) },
      run: (backend, inputs) => {
        const labels = ints(backend, [2, -100, 0, 6, 1]);
        const [hidden, weight] = [pick(inputs, 'hidden'), pick(inputs, 'weight')];
        return [ops.linearCrossEntropy(hidden, weight, inputs['bias'], labels).loss];
      },
    },
    {
      title: 'without bias, smoothed, followed by a scale',
      inputs: { hidden: uniform([3, 6], 233), weight: uniform([7, 6], 234) },
      run: (backend, inputs) => {
        const labels = ints(backend, [2, 5, 0]);
        const [hidden, weight] = [pick(inputs, 'hidden'), pick(inputs, 'weight')];
        return [ops.scale(ops.linearCrossEntropy(hidden, weight, undefined, labels, 0.25).loss, 3)];
      },
    },
  ],
  sequenceCrossEntropy: [
    {
      title: 'starts and ends in sequences of 4, 1 and 3 tokens, one label ignored',
      inputs: { logits: uniform([8, 2], 153, 2) },
      run: (backend, inputs) => [
        ops.sequenceCrossEntropy(
          pick(inputs, 'logits'),
          ints(backend, [1, 3, 0, 0, -100, 2]),
          ints(backend, [0, 4, 5, 8]),
        ),
      ],
    },
  ],
  meanSquaredError: [
    {
      title: 'a column',
      inputs: { prediction: uniform([5, 1], 152) },
      run: (backend, inputs) => [
        ops.meanSquaredError(pick(inputs, 'prediction'), Tensor.fromFloats(backend, [1, -1, 0.5, 0, 2], [5, 1])),
      ],
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
