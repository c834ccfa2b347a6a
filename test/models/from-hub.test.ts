import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { AutoModelForSequenceClassification } from '../../ts/models/auto-model-node.js';
import { applyAdapter, loadAdapter, saveAdapter } from '../../ts/peft/peft-files-node.js';
import { TestHub } from '../io/hub-server.js';

const fixtures = fileURLToPath(new URL('../fixtures/bert/relu/', import.meta.url));

function filesOf(folder: string): Record<string, Buffer> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

test('a model, its tokenizer and an adapter by their names on the hub', async (t) => {
  const hub = await TestHub.start();
  const cacheDir = mkdtempSync(join(tmpdir(), 'deftune-from-hub-'));
  t.teardown(async () => {
    await hub.stop();
    rmSync(cacheDir, { recursive: true });
  });
  const vocab = Buffer.from('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n');
  hub.repositories.set('org/model', {
    commit: 'a'.repeat(40),
    files: { ...filesOf(`${fixtures}model`), 'vocab.txt': vocab },
  });
  hub.repositories.set('org/adapter', { commit: 'b'.repeat(40), files: filesOf(`${fixtures}adapter`) });
  const options = { endpoint: hub.endpoint, cacheDir, offline: false };

  const tokenizer = await AutoTokenizer.fromPretrained('org/model', options);
  t.deepEqual(tokenizer.encode('Hello').inputIds, [2, 5, 3]);
  t.false(hub.transfers().some(({ path }) => path.endsWith('.safetensors')));
  const base = await AutoModelForSequenceClassification.fromPretrained('org/model', { ...options, backend: 'native' });
  const adapter = await loadAdapter('org/adapter', options);
  const model = applyAdapter(base, adapter);

  // An adapter names the repository of its base, not the folder of the cache.
  const snapshot = join(cacheDir, 'models--org--model', 'snapshots', 'a'.repeat(40));
  const out = join(cacheDir, 'out');
  saveAdapter(model, out, snapshot);
  const config = JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
  t.is(config['base_model_name_or_path'], 'org/model');
});
