// Every head of BERT, RoBERTa and GPT-2 against transformers: hidden 36, three heads, MLP 76, sequences of 1 to 24 tokens (see
// test/fixtures/heads.py). Reference values are computed in float64, each sequence by itself.
import type { ExecutionContext } from 'ava';
import { backward } from '../../ts/autograd/backward.js';
import type { Backend } from '../../ts/backend/backend.js';
import type { Example } from '../../ts/data/batching.js';
import type { Model } from '../../ts/models/model.js';
import { ForwardContext } from '../../ts/nn/forward-context.js';
import type { Parameter } from '../../ts/nn/parameter.js';
import { applyAdapter, readAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel } from '../../ts/peft/peft-model.js';
import { scope } from '../../ts/tensor/scope.js';
import { evaluate, predict } from '../../ts/train/evaluate.js';
import { Trainer } from '../../ts/train/trainer.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { digestOf, FamilyFixture, type Digest, type ExpectedHead } from './heads-fixture.js';

const FAMILIES = {
  roberta: new FamilyFixture('roberta'),
  gpt2: new FamilyFixture('gpt2'),
  bert: new FamilyFixture('bert_heads', 'bert/relu_bf16/model/model.safetensors'),
};

/** Opens a head with the shared low-rank weights in it, and the head's own weights as they are. */
function withLora(backend: Backend, family: FamilyFixture, head: string): PeftModel {
  const model = family.open(backend, head);
  const { tensors, config } = readAdapter(family.adapter);
  const targetModules = (config as { target_modules: string[] }).target_modules;
  const peft = getPeftModel(model, { method: 'lora', r: 2, loraAlpha: 3, targetModules });
  const own = peft.stateDict();
  const values = [...own].map(([key, { shape, data }]) => {
    const stored = key.includes('.lora_') ? tensors.get(key) : undefined;
    return [key, stored ?? { shape, values: data as Float32Array }] as const;
  });
  peft.loadStateDict(new Map(values), family.name);
  return peft;
}

function batchOf(model: Model, examples: readonly Example[]) {
  return model.head.collate(examples, { info: model.info });
}

function close(t: ExecutionContext, actual: number, expected: number, tolerance: number, what: string): void {
  t.true(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, expected ${expected} ± ${tolerance}`);
}

/**
 * Within 1e-4 of the largest element, projections within 1e-4 of the norm (they add up errors of every element).
 *
 * @param floor error allowed where the gradient is 0 by mathematics: of a key's bias, of a bias before a softmax
 */
function checkGradient(t: ExecutionContext, name: string, actual: Digest, expected: Digest, floor: number): void {
  const [norm = 0, largest = 0] = expected;
  expected.forEach((value, index) => {
    const scale = index === 1 || index > 3 ? largest : norm;
    close(t, actual[index] as number, value, 1e-4 * scale + floor, `gradient of ${name} [${index}]`);
  });
}

function checkGradients(
  t: ExecutionContext,
  model: Model,
  examples: readonly Example[],
  expected: ExpectedHead['full'],
  keyOf: (parameter: Parameter, name: string) => string,
): void {
  scope(model.backend, () => {
    const loss = model.taskLoss(batchOf(model, examples), new ForwardContext());
    close(t, loss.item(), expected.loss, 1e-5 * (1 + expected.loss), 'loss');
    const gradients = backward(loss);
    const floor = 1e-7 * Math.max(...Object.values(expected.grads).map(([norm = 0]) => norm));
    const missing = new Set(Object.keys(expected.grads));
    for (const [name, parameter] of model.namedParameters()) {
      const handle = gradients.get(parameter);
      const key = keyOf(parameter, name);
      const digest = expected.grads[key];
      if (handle === undefined || digest === undefined) {
        t.is(handle, undefined, `${key} has a gradient, but not in transformers`);
        continue;
      }
      missing.delete(key);
      checkGradient(t, key, digestOf(parameter.toStored(handle)), digest, floor);
    }
    t.deepEqual([...missing], [], 'no gradient');
  });
}

async function tenSteps(model: PeftModel, family: FamilyFixture, examples: readonly Example[]): Promise<number[]> {
  const { steps, training } = family.expected;
  const trainer = new Trainer({
    model,
    trainDataset: steps.flat().map((index) => examples[index] as Example),
    args: {
      learningRate: training.lr,
      warmup: training.warmup,
      weightDecay: training.weightDecay,
      maxGradNorm: training.maxGradNorm,
      maxSteps: steps.length,
      batchSize: (steps[0] as number[]).length,
      shuffle: false,
    },
  });
  return (await trainer.train()).log.map(({ taskLoss }) => taskLoss);
}

function checkSteps(t: ExecutionContext, actual: readonly number[], expected: readonly number[]): void {
  expected.forEach((value, step) => {
    close(t, actual[step] as number, value, 2e-4 * (1 + Math.abs(value)), `loss of step ${step + 1}`);
  });
}

for (const [name, family] of Object.entries(FAMILIES)) {
  for (const [head, expected] of Object.entries(family.expected.heads)) {
    onEachBackend(`${name} ${head}: logits, loss and density are those of transformers`, async (t, backend) => {
      const model = family.open(backend, head);
      const examples = family.examples(model, head);
      expected.logits.forEach((rows, index) => {
        if (rows === null) return;
        scope(backend, () => {
          const logits = model.forward(batchOf(model, [examples[index] as Example]), new ForwardContext()).toFloats();
          const wanted = rows.flat();
          t.is(logits.length, wanted.length);
          wanted.forEach((value, place) => {
            close(t, logits[place] as number, value, 1e-4, `sequence ${index}, logit ${place}`);
          });
        });
      });
      // In one batch and in batches of two.
      for (const batchSize of [6, 2]) {
        const { loss, density, layerDensity, outputs } = await predict(model, examples, { batchSize });
        close(t, loss, expected.loss, 1e-5 * (1 + expected.loss), 'loss');
        close(t, density, expected.density.mean, 1e-9, 'density');
        layerDensity.forEach((layer, index) => {
          close(t, layer.density, expected.density.perLayer[index] as number, 1e-9, layer.name);
        });
        expected.losses?.forEach((value, index) => {
          const { loss: own, weight } = outputs[index] as { loss: number; weight: number };
          if (value === null) t.is(weight, 0);
          else close(t, own, value, 1e-5 * (1 + value), `loss of sequence ${index}`);
        });
      }
      const { metrics } = await evaluate(model, examples);
      for (const [metric, value] of Object.entries(metrics)) t.true(Number.isFinite(value), metric);
      model.dispose();
    });

    onEachBackend(
      `${name} ${head}: gradients and ten steps of full fine-tuning are those of transformers`,
      async (t, backend) => {
        const model = getPeftModel(family.open(backend, head), { method: 'full' });
        const examples = family.examples(model.base, head);
        checkGradients(t, model.base, examples, expected.full, (_, path) => path);
        checkSteps(t, await tenSteps(model, family, examples), expected.full.steps);
        model.base.dispose();
        t.is(backend.liveTensors(), 0);
      },
    );

    onEachBackend(`${name} ${head}: gradients and ten steps of LoRA are those of peft`, async (t, backend) => {
      const model = withLora(backend, family, head);
      const examples = family.examples(model.base, head);
      const keys = new Map(
        [...model.method.savedParameters(model.base, model.config)].map(([key, parameter]) => [parameter, key]),
      );
      checkGradients(t, model.base, examples, expected.lora, (parameter, path) => keys.get(parameter) ?? path);
      checkSteps(t, await tenSteps(model, family, examples), expected.lora.steps);
      model.base.dispose();
      t.is(backend.liveTensors(), 0);
    });
  }
}

for (const name of ['roberta', 'gpt2'] as const) {
  const family = FAMILIES[name];
  const { expected } = family;
  const head = 'SequenceClassification';
  const logitsOf = async (model: Model, inputIds: readonly number[][]): Promise<number[][]> => {
    const { outputs } = await predict(
      model,
      inputIds.map((ids) => ({ inputIds: ids })),
    );
    return outputs.map(({ logits }) => Array.from(logits));
  };
  const checkLogits = (t: ExecutionContext, actual: readonly number[][], wanted: readonly number[][]): void => {
    wanted.flat().forEach((value, index) => close(t, actual.flat()[index] as number, value, 1e-4, `logit ${index}`));
  };

  onEachBackend(`${name}: an adapter of peft's gives its logits`, async (t, backend) => {
    const model = applyAdapter(family.open(backend, head), readAdapter(family.adapter));
    checkLogits(t, await logitsOf(model.base, expected.data.inputIds), expected.adapterLogits);
  });

  onEachBackend(`${name}: padding tokens within a text`, async (t, backend) => {
    const { inputIds, logits } = expected.withPads;
    checkLogits(t, await logitsOf(family.open(backend, head), inputIds), logits);
  });

  for (const [variant, { config, logits, density }] of Object.entries(expected.variants)) {
    onEachBackend(`${name}: ${variant}`, async (t, backend) => {
      const model = family.open(backend, head, { config });
      const { outputs, density: mean } = await predict(
        model,
        expected.data.inputIds.map((ids) => ({ inputIds: ids })),
      );
      checkLogits(
        t,
        outputs.map((output) => Array.from(output.logits)),
        logits,
      );
      close(t, mean, density.mean, 1e-9, 'density');
    });
  }
}
