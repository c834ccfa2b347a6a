// Adapters that are damaged, of another base, or say what is not known: one line that names it, and the model stays as it was.
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { Backend } from '../../ts/backend/backend.js';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { DeftuneError } from '../../ts/error.js';
import type { Model } from '../../ts/models/model.js';
import { addStoredAdapter, applyAdapter, readAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { openAny } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const MODELS = {
  bert: 'bert/relu/model',
  roberta: 'roberta/model',
  gpt2: 'gpt2/model',
  t5: 't5/relu/model',
  vit: 'vit/model',
};
type Base = keyof typeof MODELS;

const settings = ['peft', 'prompt_learning', 'adapters', 'former_names'].flatMap((kind) =>
  readdirSync(join(fixtures, kind))
    .map((name) => `${kind}/${name}`)
    .filter((setting) => existsSync(join(fixtures, setting, 'adapter'))),
);
const adapterOf = (setting: string): string => join(fixtures, setting, 'adapter');
const expectedOf = (setting: string): { base: Base; model?: string; head?: string } =>
  JSON.parse(readFileSync(join(fixtures, setting, 'expected.json'), 'utf8')) as { base: Base };
const open = (backend: Backend, setting: string): Promise<Model> => {
  const { base, model, head } = expectedOf(setting);
  return openAny(backend, base, join(fixtures, model ?? MODELS[base]), head);
};

const root = mkdtempSync(join(tmpdir(), 'deftune-bad-'));
test.after.always(() => {
  rmSync(root, { recursive: true });
});
let folders = 0;
function copyOf(setting: string): string {
  const directory = join(root, String((folders += 1)));
  cpSync(adapterOf(setting), directory, { recursive: true });
  return directory;
}

const bits = (model: Model): Map<string, Float32Array> =>
  new Map([...model.namedParameters()].map(([name, parameter]) => [name, parameter.toStored()]));

/** Reading and applying it throws one line; nothing is left in the model. */
function refused(t: ExecutionContext, model: Model, directory: string, what: string, message?: RegExp): void {
  const before = bits(model);
  const error = t.throws(() => applyAdapter(model, readAdapter(directory)), undefined, what);
  t.true(error instanceof DeftuneError, `${what}: ${error.stack ?? ''}`);
  t.false(error.message.includes('\n'), what);
  t.true(error.message.length < 2000, what);
  if (message) t.regex(error.message, message, what);
  t.deepEqual(bits(model), before, what);
}

test('truncated files, each cut at many places', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  for (const setting of ['peft/dora', 'prompt_learning/bert_prefix', 'adapters/bert_lora', 'adapters/bert_pfeiffer']) {
    const model = await open(backend, setting);
    for (const file of readdirSync(adapterOf(setting))) {
      const content = readFileSync(join(adapterOf(setting), file));
      for (const share of [0, 0.01, 0.1, 0.3, 0.5, 0.8, 0.95]) {
        const directory = copyOf(setting);
        writeFileSync(join(directory, file), content.subarray(0, Math.floor(share * content.length)));
        refused(t, model, directory, `${setting}/${file} cut at ${share}`, new RegExp(file.replaceAll('.', '\\.')));
      }
    }
  }
});

test('a file that is missing', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  for (const [setting, file, message] of [
    ['peft/dora', 'adapter_model.safetensors', /adapter_model\.safetensors: cannot read: no such file/],
    ['peft/dora', 'adapter_config.json', /adapter_config\.json is missing, expected an adapter directory/],
    ['adapters/bert_lora', 'pytorch_adapter.bin', /found neither adapter\.safetensors nor pytorch_adapter\.bin/],
  ] as const) {
    const directory = copyOf(setting);
    rmSync(join(directory, file));
    refused(t, await open(backend, setting), directory, `${setting} without ${file}`, message);
  }
});

test('an adapter for another base', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  for (const base of Object.keys(MODELS) as Base[]) {
    const model = await openAny(backend, base, join(fixtures, MODELS[base]));
    for (const setting of settings) {
      const { base: own } = expectedOf(setting);
      // Prompts of one width fit wherever there are words.
      if (
        own === base ||
        (/prompt_learning\/\w+_(prompt|prefix)/.test(setting) && own !== 't5' && base !== 'vit' && base !== 't5')
      )
        continue;
      refused(t, model, adapterOf(setting), `${setting} on ${base}`);
    }
  }
});

test('what a config says and nobody knows', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const cases: [setting: string, change: Record<string, unknown>, message: RegExp][] = [
    ['peft/dora', { peft_type: 'LOHA' }, /peft_type is "LOHA", expected one of LORA, /],
    ['peft/dora', { peft_type: undefined }, /peft_type is undefined, expected one of LORA, /],
    ['peft/dora', { r: -1 }, /r is -1, /],
    ['peft/dora', { lora_alpha: 'x' }, /lora_alpha is "x", /],
    ['peft/dora', { lora_dropout: 2 }, /lora_dropout is 2, /],
    ['peft/dora', { target_modules: null }, /target_modules is null, expected names/],
    ['peft/dora', { target_modules: [3] }, /target_modules\.?\S* /],
    ['peft/dora', { rank_pattern: { query: 'a' } }, /rank_pattern/],
    [
      'peft/dora',
      { init_lora_weights: 'pissa_niter_4' },
      /init_lora_weights is "pissa_niter_4", expected factors that can be found again/,
    ],
    ['peft/dora', { init_lora_weights: 'corda' }, /init_lora_weights is "corda", expected one of .*needs data/],
    ['peft/dora', { modules_to_save: ['nothing'] }, /modulesToSave: 'nothing' matches no module/],
    ['peft/dora', { lora_bias: true }, /lora_bias is true, expected false/],
    ['peft/ia3', { feedforward_modules: ['query'] }, /feedforwardModules has "query", expected some of the targets/],
    ['peft/ia3', { init_ia3_weights: 3 }, /init_ia3_weights is 3, /],
    ['prompt_learning/bert_prefix', { num_virtual_tokens: 0 }, /num_virtual_tokens is 0, /],
    [
      'prompt_learning/bert_prefix',
      { num_virtual_tokens: 4 },
      /prompt_embeddings has shape \[3, 144\], expected \[4, 144\]/,
    ],
    ['prompt_learning/bert_prefix', { token_dim: 8 }, /token_dim is 8, expected 36 as in the base/],
    ['prompt_learning/bert_prompt', { prompt_tuning_init: 'LOUD' }, /prompt_tuning_init is "LOUD", /],
  ];
  const ofAdapters: [setting: string, change: Record<string, unknown>, message: RegExp][] = [
    [
      'adapters/bert_lora',
      { architecture: 'mtl_lora' },
      /architecture is "mtl_lora", expected one of lora, none \(bottleneck\), /,
    ],
    ['adapters/bert_lora', { use_gating: true }, /use_gating is true, expected false \(not supported\)/],
    ['adapters/bert_lora', { vera_d: 0.1 }, /vera_d is 0\.1, expected null/],
    ['adapters/bert_lora', { use_dora: true }, /use_dora is true, expected false \(adapters' DoRA/],
    ['adapters/bert_lora', { attn_matrices: ['k'] }, /self\.key\.loras\.lora_A is missing/],
    ['adapters/bert_lora', { selfattn_lora: false }, /choose no layer of the model/],
    ['adapters/bert_lora', { leave_out: [0, 1] }, /choose no layer of the model/],
    ['adapters/bert_lora', { composition_mode: 'mul' }, /composition_mode is "mul"/],
    ['adapters/bert_lora', { r: 3 }, /lora_A has shape \[2, 36\], expected \[3, 36\]/],
    ['adapters/bert_ia3', { alpha: 2 }, /alpha is 2/],
    ['adapters/bert_prefix', { leave_out: [0] }, /leave_out/],
    ['adapters/bert_prefix', { use_gating: true }, /use_gating is true, expected none/],
    ['adapters/bert_prefix', { flat: false }, /wte\.weight is missing/],
    ['adapters/bert_prefix', { non_linearity: 'curve' }, /non_linearity is "curve", expected one of /],
    ['adapters/bert_prefix', { prefix_length: 5 }, /control_trans has shape \[288\], expected \[720\]/],
    ['adapters/bert_prompt', { combine: 'suffix' }, /combine is "suffix"/],
    ['adapters/bert_prompt', { prompt_length: 'many' }, /prompt_length is "many"/],
    ['adapters/bert_pfeiffer', { inv_adapter: 'nice' }, /inv_adapter is "nice", expected null/],
  ];
  const change = (setting: string, body: (config: Record<string, unknown>) => Record<string, unknown>): string => {
    const directory = copyOf(setting);
    const path = join(directory, 'adapter_config.json');
    writeFileSync(path, JSON.stringify(body(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)));
    return directory;
  };
  for (const [setting, changes, message] of cases) {
    const directory = change(setting, (config) => ({ ...config, ...changes }));
    refused(t, await open(backend, setting), directory, `${setting} ${JSON.stringify(changes)}`, message);
  }
  for (const [setting, changes, message] of ofAdapters) {
    const directory = change(setting, (config) => ({
      ...config,
      config: { ...(config['config'] as object), ...changes },
    }));
    refused(t, await open(backend, setting), directory, `${setting} ${JSON.stringify(changes)}`, message);
  }
});

test('beside other adapters, one that does not fit changes nothing', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const model = getPeftModel(await open(backend, 'peft/dora'), { method: 'lora', r: 2 });
  const before = bits(model.base);
  for (const setting of ['peft/gpt2_dora', 'adapters/gpt2_lora', 'adapters/vit_prefix', 'prompt_learning/t5_prefix']) {
    t.throws(
      () => {
        addStoredAdapter(model, 'other', readAdapter(adapterOf(setting)));
      },
      { instanceOf: DeftuneError },
      setting,
    );
    t.deepEqual(model.adapterNames, ['default']);
    t.is(model.activeAdapter, 'default');
    t.deepEqual(bits(model.base), before);
  }
});
