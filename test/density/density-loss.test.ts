// The density losses by hand and against PyTorch autograd (test/fixtures/ops.json), and their settings.
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import type { Backend } from '../../ts/backend/backend.js';
import { densityLoss, type DensityLossOptions } from '../../ts/density/density-loss.js';
import { DensityMeter, densityChange, meanDensity } from '../../ts/density/mean-density.js';
import { DeftuneError } from '../../ts/error.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import { Linear } from '../../ts/nn/linear.js';
import { Parameter } from '../../ts/nn/parameter.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import { activate } from '../../ts/ops/index.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import type { LossConfig } from '../models/bert-fixtures.js';

interface Case {
  /** Layers × tokens × neurons. */
  o: number[][][];
  /** 1 for a real token. */
  mask: number[];
  featureMap: number[][];
  density: { perLayer: number[]; mean: number };
  losses: Record<string, { config: LossConfig; value: number; grads: number[][][] }>;
}

const cases = (
  JSON.parse(readFileSync(new URL('../fixtures/ops.json', import.meta.url), 'utf8')) as {
    density: Record<string, Case>;
  }
).density;

type Side = 'encoder' | 'decoder';

/** A forward pass of MLPs that show these activations; returns what would have been before them. */
function observe(
  backend: Backend,
  options: DensityLossOptions,
  layers: readonly (readonly (readonly number[])[])[],
  { activation = 'identity', sides = [] }: { activation?: string; sides?: readonly Side[] } = {},
): { value: Tensor; context: ForwardContext; pre: Tensor[] } {
  const context = new ForwardContext();
  const loss = densityLoss(options, activation);
  loss.prepare?.(context);
  const pre = layers.map((rows, index) => {
    const tensor = Tensor.fromFloats(backend, rows.flat(), [rows.length, rows[0]?.length ?? 0]);
    tensor.requiresGrad = true;
    const observed = activate(tensor, activationKind(activation), context);
    const down = new Linear(Parameter.of(backend, new Float32Array(tensor.cols), [1, tensor.cols]));
    context.mlps.push({ name: `layer.${index}`, side: sides[index] ?? 'encoder', down, ...observed });
    return tensor;
  });
  return { value: loss.compute(context), context, pre };
}

function close(t: ExecutionContext, found: number, expected: number, what: string): void {
  t.true(Math.abs(found - expected) <= 2e-6 * (1 + Math.abs(expected)), `${what} is ${found}, expected ${expected}`);
}

for (const [caseName, { o, mask, density, featureMap, losses }] of Object.entries(cases)) {
  const real = (rows: readonly number[][]): number[][] => rows.filter((_, token) => mask[token] === 1);
  for (const [lossName, { config, value, grads }] of Object.entries(losses)) {
    const { kind, granularity, beta, eps } = config;
    // ReLU leaves values from 0 up as they are: the compact form of the same activations.
    const activations = o.flat(2).every((element) => element >= 0) ? ['identity', 'relu'] : ['identity'];
    for (const activation of activations) {
      onEachBackend(`${caseName}, ${lossName}, ${activation}: value, gradient and density`, (t, backend) => {
        const observed = observe(backend, { loss: kind, form: granularity, beta, eps }, o.map(real), { activation });
        close(t, observed.value.item(), value, 'loss');
        close(t, meanDensity(observed.context.mlps), density.mean, 'density');
        const meter = new DensityMeter();
        meter.add(observed.context.mlps);
        for (const [layer, found] of meter.perLayer().entries()) {
          close(t, found.density, density.perLayer[layer] as number, `density of layer ${layer}`);
          const map = observed.context.mlps[layer]?.featureMap.toFloats() ?? [];
          for (const [index, s] of (featureMap[layer] ?? []).entries())
            close(t, map[index] as number, s, 'feature map');
        }
        const found = backward(observed.value);
        for (const [layer, pre] of observed.pre.entries()) {
          const gradient = backend.readF32(found.get(pre) ?? 0);
          const expected = real(grads[layer] ?? []).flat();
          const values = real(o[layer] ?? []).flat();
          t.is(gradient.length, expected.length);
          for (const [index, right] of expected.entries()) {
            // Where ReLU's output is zero its derivative is.
            const isOff = activation === 'relu' && values[index] === 0;
            close(t, gradient[index] as number, isOff ? 0 : right, `gradient of layer ${layer}, element ${index}`);
          }
        }
      });
    }
  }
}

interface ElementCases {
  pre: number[][];
  losses: {
    loss: string;
    activation: string;
    config: { margin?: number; top?: number };
    value: number;
    grads: number[][];
  }[];
}

const { elementLosses: elementCases } = JSON.parse(
  readFileSync(new URL('../fixtures/ops.json', import.meta.url), 'utf8'),
) as { elementLosses: ElementCases };

for (const { loss, activation, config, value, grads } of elementCases.losses) {
  onEachBackend(`${loss} of ${activation} against PyTorch`, (t, backend) => {
    const observed = observe(backend, { loss, ...config }, [elementCases.pre], { activation });
    close(t, observed.value.item(), value, 'loss');
    const [pre] = observed.pre;
    const found = backend.readF32(backward(observed.value).get(pre as Tensor) ?? 0);
    for (const [index, right] of grads.flat().entries()) close(t, found[index] as number, right, `gradient ${index}`);
  });
}

onEachBackend('n is the neurons of all layers together, whatever their widths', (t, backend) => {
  // s = (2, 0) and (0, 3, 1); n = 5.
  const layers = [
    [
      [1, 0],
      [3, 0],
    ],
    [[0, 3, 1]],
  ];
  const tanh = observe(backend, { loss: 'tanh', beta: 0.5 }, layers).value.item();
  close(t, tanh, (Math.tanh(1) + Math.tanh(1.5) + Math.tanh(0.5)) / 5, 'tanh');
  const l0 = observe(backend, { loss: 'l0', eps: 2 }, layers).value.item();
  close(t, l0, (4 / 6 + 9 / 11 + 1 / 3) / 5, 'l0');
});

onEachBackend('the feature map is signed: opposite activations cancel', (t, backend) => {
  const { value } = observe(backend, { loss: 'l0', eps: 1 }, [[[2], [-2]]]);
  t.is(value.item(), 0);
  close(t, observe(backend, { loss: 'tanh', beta: 1 }, [[[-1], [-3]]]).value.item(), Math.tanh(-2), 'tanh');
});

onEachBackend('element form: mean over each layer, mean over layers, encoder plus decoder', (t, backend) => {
  const layers = [[[1, 0]], [[3, 3, 3, 0]], [[2, 0, 0]]];
  const share = (o: number): number => o ** 2 / (o ** 2 + 1);
  const [a, b, c] = [share(1) / 2, (3 * share(3)) / 4, share(2) / 3];
  const options: DensityLossOptions = { form: 'element', eps: 1 };
  close(t, observe(backend, options, layers).value.item(), (a + b + c) / 3, 'encoder');
  const sides: Side[] = ['encoder', 'encoder', 'decoder'];
  close(t, observe(backend, options, layers, { sides }).value.item(), (a + b) / 2 + c, 'encoder and decoder');
});

onEachBackend('weights of layers and sides, and a scheduled alpha', (t, backend) => {
  const layers = [[[1]], [[2]], [[3]]];
  const sides: Side[] = ['encoder', 'encoder', 'decoder'];
  const value = (options: DensityLossOptions): number => observe(backend, options, layers, { sides }).value.item();
  const s = [1, 2, 3].map((o) => Math.tanh(o / 2));
  const [a, b, c] = s as [number, number, number];
  const tanh = { loss: 'tanh', beta: 0.5 } as const;
  close(t, value({ ...tanh, layerWeights: [1, 0, 2] }), (a + 2 * c) / 3, 'layers');
  close(t, value({ ...tanh, encoderWeight: 3, decoderWeight: 0.5 }), (3 * (a + b) + 0.5 * c) / 3, 'sides');
  const share = (o: number): number => o ** 2 / (o ** 2 + 1);
  const element = { form: 'element', eps: 1, layerWeights: [1, 2, 3], decoderWeight: 2 } as const;
  close(t, value(element), (share(1) + 2 * share(2)) / 2 + 6 * share(3), 'element form');
  t.throws(() => value({ layerWeights: [1, 2] }), {
    message: /layerWeights has 2 values, expected one for each of the 3/,
  });
  const ramped = densityLoss({ alpha: 0.4, alphaScheduler: 'linear', alphaWarmup: 10 }, 'relu');
  t.is(ramped.weight, 0);
  ramped.beginStep?.(5, 100);
  t.is(ramped.weight, 0.2);
  ramped.beginStep?.(50, 100);
  t.is(ramped.weight, 0.4);
  t.regex(ramped.description, /linear alpha/);
});

onEachBackend('density counts exact non-zeros over batches, and averages over layers', (t, backend) => {
  const meter = new DensityMeter();
  meter.add(observe(backend, {}, [[[1, 0]], [[1e-30, -1e-30, 0, 5]]]).context.mlps);
  meter.add(
    observe(backend, {}, [
      [
        [0, 0],
        [2, 0],
      ],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 1],
      ],
    ]).context.mlps,
  );
  t.deepEqual(
    meter.perLayer().map(({ density }) => density),
    [2 / 6, 4 / 12],
  );
  t.is(meter.mean(), (2 / 6 + 4 / 12) / 2);
});

test('density change is relative to PEFT, in per cent', (t) => {
  t.is(densityChange(0.5, 0.25), 50);
  t.is(densityChange(0.2, 0.25), ((0.2 - 0.25) / 0.2) * 100);
});

test('defaults: alpha 0.05, beta 20, eps 1e-7; tanh for ReLU, l0 for the others and for the element form', (t) => {
  t.is(densityLoss({}, 'relu').description, 'tanh, feature map, alpha 0.05, beta 20');
  t.is(densityLoss({}, 'relu').weight, 0.05);
  for (const activation of ['gelu', 'gelu_new', 'silu', 'tanh']) {
    t.is(densityLoss({}, activation).description, 'l0, feature map, alpha 0.05, eps 1e-7', activation);
  }
  t.is(densityLoss({ form: 'element' }, 'relu').description, 'l0, element form, alpha 0.05, eps 1e-7');
});

test('settings out of range are refused by name', (t) => {
  const refused = (options: DensityLossOptions, message: RegExp): void => {
    t.throws(() => densityLoss(options, 'relu'), { instanceOf: DeftuneError, message });
  };
  refused({ alpha: -1 }, /^density: alpha is -1, .*expected/);
  refused({ alpha: Number.NaN }, /^density: alpha is NaN, .*expected/);
  refused({ beta: 0 }, /^density: beta is 0, .*expected/);
  refused({ loss: 'hinge' }, /^density: loss is 'hinge', expected another for relu/);
  refused({ layerWeights: [-1] }, /^density: layerWeights\.0 is -1, /);
  refused({ eps: 0 }, /^density: eps is 0, .*expected/);
  refused({ loss: 'l2' }, /^density: loss is .?l2.?, .*expected/);
  refused({ form: 'element', loss: 'tanh' }, /^density: form is 'element', expected 'feature-map' with loss 'tanh'/);
});
