// Settings that are refused, each in one line that names it; what BitFit trains; loading into a merged model.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import { loraConfigFromFile } from '../../ts/peft/lora-config.js';
import { applyAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { datasetOf, train } from '../train/training-fixtures.js';
import { openAny } from './any-batch.js';
import { fixturePath, gradients, openBase, readExpected, run } from '../models/bert-fixtures.js';

async function adapted(options: PeftOptions): Promise<PeftModel> {
  return getPeftModel(await openBase(await createBackend({ backend: 'native', threads: 1 }), 'relu'), options);
}

const REFUSED: [options: PeftOptions, message: RegExp][] = [
  [
    { method: 'lora', initLoraWeights: 'eva' },
    /initLoraWeights is "eva", expected one of true, false, "gaussian", .*"pissa_niter_N" \(that one needs data\)$/,
  ],
  [{ method: 'lora', initLoraWeights: 'true' }, /initLoraWeights is "true", expected one of true, false, /],
  [
    { method: 'lora', initLoraWeights: 'pissa', useDora: true },
    /initLoraWeights is "pissa", expected another with useDora/,
  ],
  [{ method: 'lora', initLoraWeights: 'olora', r: 37 }, /r is 37, expected at most 36 with initLoraWeights "olora"/],
  [{ method: 'lora', initLoraWeights: 'orthogonal', r: 3 }, /r is 3, expected an even number with .*"orthogonal"$/],
  [{ method: 'lora', bias: 'some' }, /bias is "some"/],
  [{ method: 'lora', rankPattern: { query: 0 } }, /rankPattern\.query is 0/],
  [{ method: 'lora', rankPattern: { '(': 2 } }, /rankPattern: "\(" is not a valid regular expression$/],
  [{ method: 'lora', targetModules: 'query', layersToTransform: 1 }, /targetModules is "query", expected a list/],
  [{ method: 'lora', layersPattern: 'layer' }, /layersPattern is "layer", expected layersToTransform too$/],
  [{ method: 'lora', layersToTransform: 9 }, /with layersToTransform 9 matches no linear layer/],
  [{ method: 'lora', excludeModules: ['query', 'value'] }, /with excludeModules .* matches no linear layer/],
  [
    { method: 'lora', modulesToSave: ['poolr'] },
    /^lora: modulesToSave: 'poolr' matches no module of the model; it has .*pooler.*classifier/,
  ],
  [{ method: 'lora', modulesToSave: ['query', 'value'] }, /targetModules: .* matches no linear layer/],
  [{ method: 'prefix-tuning', modulesToSave: ['pooler'] }, /^prefix-tuning: unrecognized key: "modulesToSave"$/],
  [{ method: 'ia3', r: 4 }, /^ia3: unrecognized key: "r"$/],
  [{ method: 'ia3', feedforwardModules: ['dense'] }, /feedforwardModules has "dense", expected some of the targets/],
  [{ method: 'bitfit', r: 4 }, /^bitfit: unrecognized key: "r"$/],
];

for (const [options, message] of REFUSED) {
  test(`refused: ${JSON.stringify(options)}`, async (t) => {
    const error = await t.throwsAsync(adapted(options), { instanceOf: DeftuneError, message });
    t.false(error.message.includes('\n'));
  });
}

test('a file with what is not supported is refused by the name of the field', async (t) => {
  const model = await openBase(await createBackend({ backend: 'native', threads: 1 }), 'relu');
  const file = { r: 2, lora_alpha: 4, target_modules: ['query'] };
  for (const [field, value] of Object.entries({
    init_lora_weights: 'loftq',
    use_qalora: true,
    kasa_config: {},
    bias: 1,
    modules_to_save: 'classifier',
  })) {
    const message = new RegExp(`^a/adapter_config.json: ${field} is `);
    t.throws(() => loraConfigFromFile({ ...file, [field]: value }, 'a/adapter_config.json', model), {
      instanceOf: DeftuneError,
      message,
    });
  }
});

test('BitFit trains the biases and the head, with the gradients of full fine-tuning, and is read back', async (t) => {
  const { batch } = readExpected('relu');
  const [bitfit, full] = [await adapted({ method: 'bitfit' }), await adapted({ method: 'full' })];
  const names = [...full.trainableParameters().keys()];
  const wanted = names.filter((name) => name.endsWith('.bias') || name.startsWith('classifier.'));
  t.deepEqual([...bitfit.trainableParameters().keys()], wanted);
  const [found, expected] = [bitfit, full].map((model) => gradients(model.base, batch).grads);
  t.deepEqual([...(found?.keys() ?? [])], wanted);
  for (const name of wanted) t.deepEqual(found?.get(name), expected?.get(name), name);

  for (const bias of bitfit.trainableParameters().values()) bias.writeStored(bias.toStored().map((v) => v + 0.1));
  const directory = mkdtempSync(join(tmpdir(), 'deftune-bitfit-'));
  try {
    saveAdapter(bitfit, directory, fixturePath('relu', 'model'));
    const base = await openBase(await createBackend({ backend: 'native', threads: 1 }), 'relu');
    const again = applyAdapter(base, readAdapter(directory));
    t.is(again.method.name, 'bitfit');
    t.deepEqual(run(again.base, batch).logits, run(bitfit.base, batch).logits);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('embeddings that score the vocabulary too are not saved whole', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const base = await openAny(backend, 'bert', fixturePath('relu', 'model'), 'MaskedLM');
  t.throws(() => getPeftModel(base, { method: 'lora', modulesToSave: ['word_embeddings'] }), {
    instanceOf: DeftuneError,
    message:
      /modulesToSave has bert\.embeddings\.word_embeddings\.weight, expected none that the model reads in several/,
  });
});

test('modules to save are trained, switched with their adapter, and the base keeps its bits', async (t) => {
  const { batch, training } = readExpected('relu');
  const model = await adapted({ method: 'lora', r: 2, modulesToSave: ['1.output.LayerNorm', 'word_embeddings'] });
  const names = [...model.trainableParameters().keys()].filter((name) => !/lora_|classifier/.test(name));
  t.deepEqual(names, [
    'bert.embeddings.word_embeddings.weight',
    ...['weight', 'bias'].map((name) => `bert.encoder.layer.1.output.LayerNorm.${name}`),
  ]);
  const bits = (): Map<string, Float32Array> =>
    new Map([...model.base.namedParameters()].map(([name, parameter]) => [name, parameter.toStored()]));
  model.disableAdapter();
  const before = bits();
  model.setAdapter('default');
  await train(model, datasetOf(training.batches), { maxSteps: 3, learningRate: 1e-2 });
  const trained = run(model.base, batch).logits;
  const changed = [...bits()].filter(
    ([name, values]) => before.has(name) && !isDeepStrictEqual(values, before.get(name)),
  );
  t.deepEqual(
    changed.map(([name]) => name),
    [...names, 'classifier.weight', 'classifier.bias'],
  );
  model.disableAdapter();
  t.deepEqual(bits(), before);
  model.setAdapter('default');
  t.deepEqual(run(model.base, batch).logits, trained);
});

test('parameters are counted as peft prints them', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  // peft 0.21's print_trainable_parameters() on the same models.
  const cases: [path: string, head: string, options: PeftOptions, printed: string][] = [
    [
      'bert/relu/model',
      'SequenceClassification',
      { method: 'lora', r: 2 },
      '650 || all params: 27,228 || trainable%: 2.3872',
    ],
    [
      'bert/relu/model',
      'SequenceClassification',
      { method: 'lora', r: 2, bias: 'all' },
      '1,378 || all params: 27,228 || trainable%: 5.0610',
    ],
    [
      'bert/relu/model',
      'SequenceClassification',
      { method: 'lora', r: 2, modulesToSave: ['pooler'] },
      '1,982 || all params: 28,560 || trainable%: 6.9398',
    ],
    [
      'bert/relu/model',
      'SequenceClassification',
      { method: 'lora', r: 2, initLoraWeights: 'pissa' },
      '650 || all params: 27,228 || trainable%: 2.3872',
    ],
    ['bert/relu/model', 'SequenceClassification', { method: 'ia3' }, '442 || all params: 27,020 || trainable%: 1.6358'],
    [
      'bert/relu/model',
      'SequenceClassification',
      { method: 'prefix-tuning', numVirtualTokens: 3 },
      '506 || all params: 27,084 || trainable%: 1.8683',
    ],
    [
      'bert/relu/model',
      'SequenceClassification',
      { method: 'prompt-tuning', numVirtualTokens: 3 },
      '182 || all params: 26,760 || trainable%: 0.6801',
    ],
    ['gpt2/model', 'CausalLM', { method: 'lora', r: 2 }, '576 || all params: 25,712 || trainable%: 2.2402'],
    [
      'prompt_learning/t5',
      'Seq2SeqLM',
      { method: 'prefix-tuning', numVirtualTokens: 3 },
      '288 || all params: 19,320 || trainable%: 1.4907',
    ],
    [
      'prompt_learning/t5',
      'Seq2SeqLM',
      { method: 'prompt-tuning', numVirtualTokens: 3 },
      '144 || all params: 19,176 || trainable%: 0.7509',
    ],
  ];
  for (const [path, head, options, printed] of cases) {
    const base = await openAny(backend, '', fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url)), head);
    t.is(getPeftModel(base, options).describeTrainable(), `trainable params: ${printed}`);
  }
});

test('a merged adapter is not loaded into', async (t) => {
  const model = await adapted({ method: 'lora' });
  model.merge();
  t.throws(() => model.loadStateDict(new Map(), 'adapter'), { message: /^adapter: .* expected unmerge\(\)/ });
});
