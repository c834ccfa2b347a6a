// Thresholds: what they do to MLPs of every family, and how they are found.
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { ThresholdCalibration, thresholdsOf, type LayerEffects } from '../../ts/density/threshold-calibration.js';
import { DeftuneError } from '../../ts/error.js';
import { AutoModel } from '../../ts/models/auto-model-node.js';
import type { Model, ModelOptions } from '../../ts/models/model.js';
import { activationThresholds, setActivationThresholds } from '../../ts/nn/activation-thresholds.js';
import type { MlpObservation } from '../../ts/nn/forward-context.js';
import { Linear } from '../../ts/nn/linear.js';
import { Parameter } from '../../ts/nn/parameter.js';
import { activationKind } from '../../ts/ops/activation-kind.js';
import { activate } from '../../ts/ops/index.js';
import { Tensor } from '../../ts/tensor/tensor.js';
import { evaluate, predict } from '../../ts/train/evaluate.js';
import { thresholdsWithinBudget } from '../../ts/train/thresholds-within-budget.js';
import { onEachBackend } from '../backend/on-each-backend.js';

const path = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

/** One directory of each kind of MLP, with its layers' names. */
const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  'bert/gelu/model': ['encoder.layer.0', 'encoder.layer.1'],
  'roberta/model': ['encoder.layer.0', 'encoder.layer.1'],
  'gpt2/model': ['h.0', 'h.1'],
  'vit/model': ['layers.0', 'layers.1'],
  't5/relu/model': ['encoder.block.0', 'decoder.block.0', 'decoder.block.1'],
  't5/gated/model': ['encoder.block.0', 'encoder.block.1', 'decoder.block.0'],
};

async function open(backend: Backend, name: string, options: ModelOptions = {}): Promise<Model> {
  return AutoModel.fromPretrained(path(name), { backend, ...options });
}

/** Inputs that any of the models reads. */
function examplesFor({
  info,
}: Model): { inputIds: number[]; label?: number; labelIds?: number[]; pixelValues?: Float32Array }[] {
  if (info.tokensPerImage !== undefined) {
    const [height, width] = info.config['image_size'] as [number, number];
    const pixels = (info.config['num_channels'] as number) * height * width;
    return [0, 1].map((k) => ({
      inputIds: [],
      label: k,
      pixelValues: Float32Array.from({ length: pixels }, (_, index) => Math.sin(index * (k + 1))),
    }));
  }
  const targets = info.decoderStartTokenId === undefined ? {} : { labelIds: [7, 9, 1] };
  return [
    { inputIds: [5, 6, 7, 8], label: 0, ...targets },
    { inputIds: [9, 10, 3], label: 1, ...targets },
  ];
}

for (const [name, layers] of Object.entries(FAMILIES)) {
  onEachBackend(`${name}: a threshold makes small activations zeros, and no other`, async (t, backend) => {
    using model = await open(backend, name);
    const examples = examplesFor(model);
    const seen = async (): Promise<Map<string, Float32Array>> => {
      const found = new Map<string, Float32Array>();
      await predict(model, examples, {
        observe: (mlps) => {
          for (const mlp of mlps) found.set(mlp.name, backend.readF32(backend.toDense(mlp.out.handle)));
        },
      });
      return found;
    };
    const before = await seen();
    t.deepEqual([...before.keys()], layers);
    const first = layers[0] as string;
    const magnitudes = (before.get(first) ?? new Float32Array())
      .filter((value) => value !== 0)
      .map(Math.abs)
      .sort();
    const threshold = magnitudes[Math.floor(magnitudes.length / 2)] as number;
    setActivationThresholds(model, { [first]: threshold });
    const after = await seen();
    const [full, cut] = [before, after].map((found) => found.get(first) as Float32Array) as [
      Float32Array,
      Float32Array,
    ];
    // Signs of zeros are of no interest.
    t.true(cut.every((value, at) => value === (Math.abs(full[at] as number) <= threshold ? 0 : full[at])));
    t.true(cut.filter((value) => value === 0).length >= cut.length / 2 - 1);
    t.deepEqual(activationThresholds(model), { [first]: threshold });
    setActivationThresholds(model, 0);
    t.deepEqual(await seen(), before);
    t.deepEqual(activationThresholds(model), {});
  });
}

/** An MLP that shows these activations [tokens, dFf], with a down-projection [d, dFf] and its bias. */
function mlp(backend: Backend, rows: number[][], down: number[][], bias: number[]): MlpObservation {
  const width = rows[0]?.length ?? 0;
  const weight = Parameter.of(backend, Float32Array.from(down.flat()), [down.length, width]);
  return {
    ...{
      name: 'a',
      side: 'encoder',
      down: new Linear(weight, Parameter.of(backend, Float32Array.from(bias), [bias.length])),
    },
    ...activate(Tensor.fromFloats(backend, rows.flat(), [rows.length, width]), activationKind('identity')),
  };
}

onEachBackend('the error is that of the MLP, by hand', (t, backend) => {
  const calibration = new ThresholdCalibration(4);
  // Output with the bias: (3 - 0.1 + 0.5, ...), by token.
  const rows = [
    [3, -0.1, 0, 2],
    [0.2, 0, -4, 1],
  ];
  const down = [
    [1, 2, 0.5, 1],
    [0, 1, 1, 2],
  ];
  const bias = [0.5, -1];
  calibration.add([mlp(backend, rows, down, bias)]);
  const [layer] = calibration.perLayer() as [LayerEffects];
  // Magnitudes 0.1 0.2 1 2 3 4: at a quarter, a half, three quarters of six.
  t.deepEqual(
    layer.effects.map(({ threshold }) => Math.fround(threshold)),
    [0, 0.2, 2, 3].map(Math.fround),
  );
  const project = (o: readonly number[]): number[] =>
    down.map((w) => w.reduce((sum, value, i) => sum + value * (o[i] ?? 0), 0));
  const norm = (values: readonly number[]): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const whole = norm(rows.flatMap((o) => project(o).map((value, i) => value + (bias[i] ?? 0))));
  for (const { threshold, error, density } of layer.effects) {
    const lost = rows.map((o) => o.map((value) => (Math.abs(value) <= Math.fround(threshold) ? value : 0)));
    const expected = norm(lost.flatMap(project)) / whole;
    t.true(Math.abs(error - expected) < 1e-6, `${threshold}: ${error}, expected ${expected}`);
    t.is(density, rows.flat().filter((value) => Math.abs(value) > Math.fround(threshold)).length / 8);
  }
  const errorOf = (index: number): number => layer.effects[index]?.error as number;
  t.is(calibration.choose({ maxError: errorOf(1) })[0]?.threshold, layer.effects[1]?.threshold);
  t.is(calibration.choose({ maxError: errorOf(1) * 0.999 })[0]?.threshold, 0);
  t.is(calibration.choose({ targetDensity: 0.25 })[0]?.threshold, 2);
  // There is no sparser one to be had.
  t.is(calibration.choose({ targetDensity: 0 })[0]?.threshold, 3);
  t.is(calibration.choose({ targetDensity: 1 })[0]?.threshold, 0);
  t.like(calibration.choose({ maxError: 1 })[0], { name: 'a', side: 'encoder', density: 1 / 8, densityBefore: 6 / 8 });
});

onEachBackend('every MLP keeps to the error that was chosen, measured anew', async (t, backend) => {
  for (const name of ['bert/gelu/model', 't5/gated/model', 'gpt2/model']) {
    using model = await open(backend, name);
    const examples = examplesFor(model);
    const calibration = new ThresholdCalibration();
    await predict(model, examples, { observe: calibration.add });
    const chosen = calibration.choose({ maxError: 0.2 });
    t.true(chosen.every(({ error, density, densityBefore }) => error > 0 && error <= 0.2 && density < densityBefore));
    for (const { name: layer, threshold, density, error } of chosen) {
      // One at a time: what goes into it is what was calibrated on.
      setActivationThresholds(model, {});
      const outputs: Float32Array[] = [];
      const observe = (mlps: readonly MlpObservation[]): void => {
        const found = mlps.find((seen) => seen.name === layer) as MlpObservation;
        outputs.push(found.down.forward(found.out, undefined as never).toFloats());
      };
      await predict(model, examples, { observe });
      setActivationThresholds(model, { [layer]: threshold });
      const { layerDensity } = await predict(model, examples, { observe });
      t.is(layerDensity.find((seen) => seen.name === layer)?.density, density);
      const [full = [], cut = []] = outputs.map((values) => [...values]);
      const squares = (values: readonly number[]): number => values.reduce((sum, value) => sum + value * value, 0);
      const measured = Math.sqrt(squares(full.map((value, i) => value - (cut[i] as number))) / squares(full));
      t.true(Math.abs(measured - error) < 1e-5, `${name} ${layer}: ${measured}, expected ${error}`);
    }
  }
});

test('within a budget of the metric; the model is left as it was', async (t) => {
  const backend = await createBackend();
  using model = await open(backend, 'bert/gelu/model');
  const examples = Array.from({ length: 24 }, (_, k) => ({ inputIds: [1 + k, 30 - k, 5, 7], label: k % 2 }));
  const calibration = new ThresholdCalibration();
  await predict(model, examples, { observe: calibration.add });
  setActivationThresholds(model, { 'encoder.layer.0': 0.001 });
  // Labels as the model answers: every threshold that matters costs.
  const { outputs } = await predict(model, examples);
  const labelled = examples.map((example, k) => {
    const logits = [...(outputs[k]?.logits ?? [])];
    return { ...example, label: logits.indexOf(Math.max(...logits)) };
  });
  const found = await thresholdsWithinBudget(model, calibration, labelled, 0);
  t.is(found.before.metric, 1);
  t.is(found.after.metric, 1);
  t.deepEqual(activationThresholds(model), { 'encoder.layer.0': 0.001 });
  setActivationThresholds(model, thresholdsOf(found.chosen, { 'encoder.layer.0': 0.001 }));
  t.is((await evaluate(model, labelled)).metric, 1);
  const all = await thresholdsWithinBudget(model, calibration, labelled, 100);
  t.is(all.maxError, 1);
  t.true(all.after.density < found.after.density);
});

const refused = (t: ExecutionContext, body: () => unknown, message: RegExp): void => {
  t.throws(body, { instanceOf: DeftuneError, message });
};

test('what is refused', async (t) => {
  const backend = await createBackend();
  using model = await open(backend, 'bert/gelu/model');
  refused(
    t,
    () => {
      setActivationThresholds(model, { 'encoder.layer.7': 1 });
    },
    /"encoder\.layer\.7" is no MLP, expected one of encoder\.layer\.0, encoder\.layer\.1$/,
  );
  refused(
    t,
    () => {
      setActivationThresholds(model, -1);
    },
    /encoder\.layer\.0 is -1, expected a number from 0/,
  );
  refused(
    t,
    () => {
      setActivationThresholds(model, { 'encoder.layer.0': Number.NaN });
    },
    /is NaN, expected a number from 0/,
  );
  refused(
    t,
    () => {
      setActivationThresholds(model, { 'encoder.layer.0': Infinity });
    },
    /expected a number from 0/,
  );
  t.deepEqual(activationThresholds(model), {});
  const calibration = new ThresholdCalibration();
  refused(t, () => calibration.choose({}), /calibration: expected either maxError or targetDensity/);
  refused(
    t,
    () => calibration.choose({ maxError: 0.1, targetDensity: 0.5 }),
    /expected either maxError or targetDensity/,
  );
  refused(t, () => calibration.choose({ maxError: 2 }), /maxError is 2/);
  await t.throwsAsync(open(backend, 'bert/gelu/model', { activation: 'step' }), {
    instanceOf: DeftuneError,
    message: /activation 'step' is not supported, expected one of relu, /,
  });
  await t.throwsAsync(open(backend, 'bert/gelu/model', { activationThresholds: { x: 1 } }), {
    message: /"x" is no MLP/,
  });
});

onEachBackend('another activation in place of the checkpoint’s', async (t, backend) => {
  for (const [name, field, value] of [
    ['bert/gelu/model', 'hidden_act', 'relu'],
    ['roberta/model', 'hidden_act', 'relu'],
    ['gpt2/model', 'activation_function', 'relu'],
    ['vit/model', 'hidden_act', 'relu'],
    ['t5/gated/model', 'feed_forward_proj', 'gated-relu'],
  ] as const) {
    using model = await open(backend, name, { activation: 'relu' });
    using own = await open(backend, name);
    t.is(model.info.activation, 'relu');
    t.is(model.info.config[field], value);
    t.is(model.swappedActivation, 'relu');
    t.is(own.swappedActivation, undefined);
    const [swapped, before] = [await predict(model, examplesFor(model)), await predict(own, examplesFor(own))];
    t.true(swapped.density < 0.8 && before.density > 0.9, `${name}: ${swapped.density}, ${before.density}`);
  }
});
