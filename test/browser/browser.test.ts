// The browser entry under Node: all it needs of a browser is WebAssembly.
import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  collate,
  createBackend,
  DeftuneError,
  ForwardContext,
  init,
  modelFromFiles,
  Tokenizer,
} from '../../ts/browser.js';
import { AutoModelForSequenceClassification } from '../../ts/index.js';
import { relaxedSimdProbe } from '../../ts/backend/relaxed-simd-probe.js';

const wasmTest = process.env['DEFTUNE_SKIP_WASM'] ? test.serial.skip : test.serial;
const fixture = new URL('../fixtures/bert/relu/model/', import.meta.url);
const file = (name: string): Buffer => readFileSync(new URL(name, fixture));

test('the native backend is refused', async (t) => {
  await t.throwsAsync(createBackend({ backend: 'native' }), { instanceOf: DeftuneError, message: /expected "wasm"/ });
});

wasmTest('a module that does not compile is refused', async (t) => {
  await t.throwsAsync(init(Uint8Array.of(0, 1, 2)), { instanceOf: DeftuneError, message: /could not be loaded/ });
});

wasmTest('a model built from bytes gives the logits of the one opened from its directory', async (t) => {
  const build = WebAssembly.validate(relaxedSimdProbe) ? 'relaxed' : 'simd128';
  await init(readFileSync(new URL(`../../wasm/${build}/deftune_wasm_bg.wasm`, import.meta.url)));
  const backend = await createBackend();
  t.is(backend.threads(), 1);
  const model = await modelFromFiles({
    backend,
    configJson: file('config.json').toString(),
    safetensors: file('model.safetensors'),
  });
  const opened = await AutoModelForSequenceClassification.fromPretrained(fixture.pathname, { backend });
  const batch = collate([{ inputIds: [2, 5, 7, 3] }, { inputIds: [2, 9, 3] }]);
  const logits = model.forward(batch, new ForwardContext()).toFloats();
  t.is(logits.length, 2 * model.info.numLabels);
  t.true(logits.every(Number.isFinite));
  t.deepEqual(logits, opened.forward(batch, new ForwardContext()).toFloats());
});

wasmTest('files that are no model are named', async (t) => {
  const safetensors = new Uint8Array(3);
  await t.throwsAsync(modelFromFiles({ configJson: '{', safetensors }), { message: /^config\.json:1:2: invalid JSON/ });
  await t.throwsAsync(modelFromFiles({ configJson: '[]', safetensors }), { message: /expected an object/ });
  await t.throwsAsync(modelFromFiles({ configJson: file('config.json').toString(), safetensors }), {
    message: /^model\.safetensors: /,
  });
});

test('Tokenizer is exported', (t) => t.is(typeof Tokenizer.fromJson, 'function'));
