// Adapters of peft as adapters of AdapterHub, and the other way round: the same logits, or a refusal with the reason.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { Rng } from '../../ts/data/rng.js';
import { DeftuneError } from '../../ts/error.js';
import type { Model } from '../../ts/models/model.js';
import { applyAdapter, convertAdapter, readAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { maxAbs, maxDifference } from '../models/bert-fixtures.js';
import { logitsOf, openAny, type AnyBatch } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const MODELS: Readonly<Record<string, string>> = { bert: 'bert/relu/model', gpt2: 'gpt2/model', t5: 't5/relu/model' };

interface Expected {
  base: string;
  model?: string;
  head?: string;
  batch: AnyBatch;
}

const BOTTLENECK = /^peft has no bottleneck adapters, expected the format of AdapterHub's adapters$/;
const SCALES_INPUTS = /^AdapterHub's adapters scales outputs only, .* the input of \S+ is scaled$/;
const ONE_RANK = /^AdapterHub's adapters has one rank and alpha for all layers, expected r \d.* found \d/;
const BIASES = /^AdapterHub's adapters trains no biases beside LoRA/;
const WHOLE_MODULES = /^AdapterHub's adapters saves no modules beside the head/;
const DORA = /^AdapterHub's adapters has another DoRA/;
const MOVES = /^AdapterHub's prefixes leave the positions of the tokens as they are/;
const BEFORE_WORDS = /^AdapterHub's prompts stand behind the embedding layer/;

/** Why an adapter of the fixtures cannot be had in the other format; the others can. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'peft/rslora_patterns': ONE_RANK,
  'peft/gpt2_rslora': ONE_RANK,
  'peft/dora': DORA,
  'peft/gpt2_dora': DORA,
  'peft/bias_all': BIASES,
  'peft/bias_lora_only': BIASES,
  'peft/pissa': /^LoRA that began as pissa is written for peft first/,
  'peft/gpt2_pissa': /^LoRA that began as pissa/,
  'peft/olora': /^LoRA that began as olora/,
  'peft/modules_to_save': WHOLE_MODULES,
  'peft/gpt2_ia3_modules_to_save': WHOLE_MODULES,
  'peft/ia3': SCALES_INPUTS,
  'peft/gpt2_ia3': SCALES_INPUTS,
  'prompt_learning/bert_prefix': MOVES,
  'prompt_learning/bert_prefix_projected': MOVES,
  'prompt_learning/roberta_prefix_tokens': MOVES,
  'prompt_learning/gpt2_prefix': MOVES,
  'prompt_learning/gpt2_prefix_text': MOVES,
  'prompt_learning/t5_prefix': /^AdapterHub's prefixes of t5 move keys against queries in its relative positions/,
  'prompt_learning/bert_prompt': BEFORE_WORDS,
  'prompt_learning/roberta_prompt': BEFORE_WORDS,
  'prompt_learning/roberta_prompt_tokens': BEFORE_WORDS,
  'prompt_learning/gpt2_prompt': BEFORE_WORDS,
  'prompt_learning/gpt2_prompt_text': BEFORE_WORDS,
  'prompt_learning/t5_prompt': BEFORE_WORDS,
  'adapters/bert_prefix': /^peft's prefixes move the positions of the tokens, and this one does not/,
  'adapters/roberta_prefix_projected': /^peft's prefixes move the positions/,
  'adapters/gpt2_prefix': /^peft's prefixes move the positions/,
  'adapters/vit_prefix': /^peft has no prefix for images/,
  'adapters/bert_prompt': /^peft's prompts stand before the words/,
  'adapters/roberta_prompt_after': /^peft's prompts stand before the words/,
  'adapters/vit_prompt': /^peft has no prompts for images/,
};

function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-convert-'));
  return body(folder).finally(() => {
    rmSync(folder, { recursive: true });
  });
}

const agree = (t: ExecutionContext, found: Float32Array, expected: Float32Array): void => {
  t.true(maxDifference(found, expected) <= 1e-5 * Math.max(1, maxAbs(expected)));
};

const settings = ['peft', 'prompt_learning', 'adapters'].flatMap((kind) =>
  readdirSync(join(fixtures, kind))
    .map((name) => `${kind}/${name}`)
    .filter((setting) => existsSync(join(fixtures, setting, 'adapter'))),
);

for (const setting of settings) {
  const refused =
    REFUSED[setting] ?? (/adapters\/.*_(houlsby|pfeiffer|parallel|after_norm)$/.test(setting) && BOTTLENECK);
  test(`${setting}: ${refused ? 'refused with the reason' : 'the same logits in the other format, and back'}`, async (t) => {
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const {
      base,
      model: path,
      head,
      batch,
    } = JSON.parse(readFileSync(join(fixtures, setting, 'expected.json'), 'utf8')) as Expected;
    const directory = join(fixtures, path ?? (MODELS[base] as string));
    const open = (): Promise<Model> => openAny(backend, base, directory, head);
    const stored = readAdapter(join(fixtures, setting, 'adapter'));
    const plain = await open();
    const alone = logitsOf(plain, batch);
    await inFolder(async (folder) => {
      const [there, back] = [join(folder, 'there'), join(folder, 'back')];
      if (refused) {
        const error = t.throws(
          () => {
            convertAdapter(plain, stored, there, directory);
          },
          { instanceOf: DeftuneError },
        );
        t.regex(error.message, refused);
        t.false(existsSync(there));
      } else {
        const wanted = logitsOf(applyAdapter(await open(), stored).base, batch);
        convertAdapter(plain, stored, there, directory);
        const converted = readAdapter(there);
        t.not(converted.format, stored.format);
        agree(t, logitsOf(applyAdapter(await open(), converted).base, batch), wanted);
        convertAdapter(plain, converted, back, directory);
        t.is(readAdapter(back).format, stored.format);
        agree(t, logitsOf(applyAdapter(await open(), readAdapter(back)).base, batch), wanted);
      }
      t.deepEqual(logitsOf(plain, batch), alone, 'the model is left as it was');
    });
  });
}

/** A model with random weights in its adapter. */
async function adapted(base: string, options: PeftOptions): Promise<PeftModel> {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const model = getPeftModel(await openAny(backend, base, join(fixtures, MODELS[base] as string)), options);
  const rng = new Rng(5);
  for (const parameter of model.trainableParameters().values()) {
    parameter.writeStored(parameter.toStored().map((value) => value + 0.2 * rng.nextNormal()));
  }
  return model;
}

test("a fused projection's LoRA of peft is written with its A for each part", async (t) => {
  const model = await adapted('gpt2', { method: 'lora', r: 2, loraAlpha: 5, useRslora: true });
  const batch = {
    inputIds: [
      [5, 9, 2],
      [7, 30],
    ],
    labels: [0, 1],
  };
  const wanted = logitsOf(model.base, batch);
  await inFolder(async (folder) => {
    const directory = join(fixtures, MODELS['gpt2'] as string);
    saveAdapter(model, folder, directory, {}, 'adapters');
    const stored = readAdapter(folder);
    t.like(stored.config, { attn_matrices: ['q', 'k', 'v'], r: 2 });
    const again = applyAdapter(await openAny(model.base.backend, 'gpt2', directory), stored);
    t.like(again.config, { r: 6 });
    agree(t, logitsOf(again.base, batch), wanted);
  });
});

const UNWRITABLE: [base: string, options: PeftOptions, message: RegExp][] = [
  [
    'bert',
    { method: 'lora', targetModules: ['attention.output.dense'] },
    /no place for bert\.encoder\.layer\.0\.attention\.output\.dense/,
  ],
  [
    'bert',
    { method: 'lora', targetModules: '.*layer\\.0.*(query|key)|.*layer\\.1.*query' },
    /adapts bert\.encoder\.layer\.1\.attention\.self\.key too/,
  ],
  [
    't5',
    { method: 'lora', targetModules: ['SelfAttention.q'] },
    /adapts decoder\.block\.0\.layer\.1\.EncDecAttention\.q too/,
  ],
  ['bert', { method: 'lora', rankPattern: { query: 2 } }, ONE_RANK],
  ['bert', { method: 'head' }, /^AdapterHub's adapters has no file for head, expected the format of peft$/],
];

for (const [base, options, message] of UNWRITABLE) {
  test(`not written for AdapterHub: ${base}, ${JSON.stringify(options)}`, async (t) => {
    const model = await adapted(base, options);
    await inFolder((folder) => {
      const directory = join(fixtures, MODELS[base] as string);
      t.throws(
        () => {
          saveAdapter(model, folder, directory, {}, 'adapters');
        },
        { instanceOf: DeftuneError, message },
      );
      t.deepEqual(readdirSync(folder), []);
      return Promise.resolve();
    });
  });
}
