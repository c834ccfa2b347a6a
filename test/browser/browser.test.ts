// The browser entry under Node: all it needs of a browser is WebAssembly.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { AutoModelForSequenceClassification, DeftuneError, type Files } from '../../ts/index.js';
import { relaxedSimdProbe } from '../../ts/backend/relaxed-simd-probe.js';
import type * as Browser from '../../ts/browser.js';

const wasmTest = process.env['DEFTUNE_SKIP_WASM'] ? test.serial.skip : test.serial;
const fixture = new URL('../fixtures/bert/relu/model/', import.meta.url);
/** Imported when needed: it needs the WebAssembly module's glue code, which may not have been built. */
const browser = (): Promise<typeof Browser> => import('../../ts/browser.js');
const file = (name: string): Buffer => readFileSync(new URL(name, fixture));

wasmTest('the native backend is refused', async (t) => {
  const { createBackend } = await browser();
  await t.throwsAsync(createBackend({ backend: 'native' }), { instanceOf: DeftuneError, message: /expected "wasm"/ });
});

wasmTest('a module that does not compile is refused', async (t) => {
  const { init } = await browser();
  await t.throwsAsync(init(Uint8Array.of(0, 1, 2)), { instanceOf: DeftuneError, message: /could not be loaded/ });
});

wasmTest('a model built from bytes gives the logits of the one opened from its directory', async (t) => {
  const {
    collate,
    createBackend,
    ForwardContext,
    init,
    modelFromFiles,
    adapterFromFiles,
    adapterToFiles,
    getPeftModel,
  } = await browser();
  const build = WebAssembly.validate(relaxedSimdProbe) ? 'relaxed' : 'simd128';
  await init(readFileSync(new URL(`../../wasm/${build}/deftune_wasm_bg.wasm`, import.meta.url)));
  const backend = await createBackend();
  t.is(backend.threads(), 1);
  const files = new Map(['config.json', 'model.safetensors'].map((name) => [name, file(name)]));
  const model = await modelFromFiles(files, { backend });
  const opened = await AutoModelForSequenceClassification.fromPretrained(fixture.pathname, { backend });
  const batch = collate([{ inputIds: [2, 5, 7, 3] }, { inputIds: [2, 9, 3] }]);
  const logits = model.forward(batch, new ForwardContext()).toFloats();
  t.is(logits.length, 2 * model.info.numLabels);
  t.true(logits.every(Number.isFinite));
  t.deepEqual(logits, opened.forward(batch, new ForwardContext()).toFloats());

  // Its adapter as files, put into the other one.
  const adapted = getPeftModel(model, { method: 'lora', initLoraWeights: false, seed: 5 });
  const content = adapterToFiles(adapted, 'some/model');
  t.deepEqual([...content.keys()].sort(), ['adapter_config.json', 'adapter_model.safetensors', 'deftune.json']);
  t.true(String(content.get('adapter_config.json')).includes('"base_model_name_or_path": "some/model"'));
  const changed = adapted.base.forward(batch, new ForwardContext()).toFloats();
  t.notDeepEqual(changed, logits);
  t.deepEqual(adapterFromFiles(opened, content).base.forward(batch, new ForwardContext()).toFloats(), changed);
});

wasmTest('files that are no model are named', async (t) => {
  const { modelFromFiles } = await browser();
  const refused = (configJson: string, expected: RegExp): Promise<unknown> => {
    const files: Files = new Map<string, string | Uint8Array>([
      ['config.json', configJson],
      ['model.safetensors', new Uint8Array(3)],
    ]);
    return t.throwsAsync(modelFromFiles(files), { instanceOf: DeftuneError, message: expected });
  };
  await refused('{', /^config\.json:1:2: invalid JSON/);
  await refused('[]', /expected an object/);
  await refused(file('config.json').toString(), /^model\.safetensors: /);
  await t.throwsAsync(modelFromFiles(new Map()), { message: /^config\.json is missing, found no file/ });
});

wasmTest('records are read from a text in the form that it has', async (t) => {
  const { recordsFromText } = await browser();
  t.deepEqual(recordsFromText('text\tlabel\ngood, really\t1\n'), [{ text: 'good, really', label: 1, line: 2 }]);
  t.deepEqual(recordsFromText('text,label\n"good, really",1\n'), [{ text: 'good, really', label: 1, line: 2 }]);
  t.deepEqual(recordsFromText('{"text": "good", "label": "yes"}'), [{ text: 'good', label: 'yes', line: 1 }]);
  t.throws(() => recordsFromText('text\tlabel\n'), { message: 'text: no records, expected at least 1' });
});

wasmTest('a tokenizer from files', async (t) => {
  const { tokenizerFromFiles } = await browser();
  const asset = new URL('../../assets/bert-mini-relu/tokenizer.json', import.meta.url);
  const tokenizer = tokenizerFromFiles(new Map([['tokenizer.json', readFileSync(asset)]]));
  t.is(tokenizer.decode(tokenizer.encode('a good film').inputIds, { skipSpecialTokens: true }), 'a good film');
  t.throws(() => tokenizerFromFiles(new Map()), { message: /^the files: tokenizer\.json is missing/ });
});

wasmTest('an activation that is undefined leaves the adapter its own', async (t) => {
  const { adapterToFiles, getPeftModel, modelFromFiles } = await browser();
  const { WorkerSession } = await import('../../ts/web/worker-session.js');
  const gelu = new URL('../fixtures/bert/gelu/model/', import.meta.url);
  const model = new Map(
    ['config.json', 'model.safetensors'].map((name) => [name, readFileSync(new URL(name, gelu))] as const),
  );
  const base = await modelFromFiles(model, { activation: 'relu' });
  const adapter = adapterToFiles(getPeftModel(base, { method: 'lora', initLoraWeights: false, seed: 5 }), 'some/model');
  const density = async (modelOptions: { activation?: string | undefined }): Promise<number> => {
    const session = new WorkerSession(() => undefined);
    await session.open({ model, adapter, modelOptions });
    return (await session.evaluate([{ inputIds: [2, 5, 7, 3], label: 0, line: 1 }])).density;
  };
  // Of GELU nothing is zero.
  const own = await density({});
  t.true(own < 0.9, `density ${own}`);
  t.is(await density({ activation: undefined }), own);
});
