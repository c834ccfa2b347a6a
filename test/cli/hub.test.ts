import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { TestHub } from '../io/hub-server.js';
import { runDeftune } from './run-deftune.js';

const fixtures = fileURLToPath(new URL('../fixtures/bert/relu/', import.meta.url));

function filesOf(folder: string): Record<string, Buffer> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

test('--model and --adapter take names on the hub', async (t) => {
  const hub = await TestHub.start();
  const home = mkdtempSync(join(tmpdir(), 'deftune-cli-hub-'));
  t.teardown(async () => {
    await hub.stop();
    rmSync(home, { recursive: true });
  });
  hub.repositories.set('org/model', { commit: 'a'.repeat(40), files: filesOf(`${fixtures}model`) });
  hub.repositories.set('org/adapter', { commit: 'b'.repeat(40), files: filesOf(`${fixtures}adapter`) });
  const input = join(home, 'in.jsonl');
  writeFileSync(input, '{"inputIds": [1, 2, 3]}\n');
  const output = join(home, 'out.jsonl');
  const command = ['predict', '--input', input, '--output', output, '--logits', '--json'];
  const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: home, HF_HUB_OFFLINE: '', HF_TOKEN: '' };
  await runDeftune(t, [...command, '--model', 'org/model', '--adapter', 'org/adapter'], { env });
  const downloaded = readFileSync(output, 'utf8');
  await runDeftune(t, [...command, '--model', `${fixtures}model`, '--adapter', `${fixtures}adapter`]);
  t.is(downloaded, readFileSync(output, 'utf8'));

  const offline = { env: { ...env, HF_HUB_OFFLINE: '1' } };
  await runDeftune(t, [...command, '--model', 'org/model'], offline);
  rmSync(output);
  const missing = await runDeftune(t, [...command, '--model', 'org/other'], { ...offline, code: 1 });
  t.regex(
    missing.stderr,
    /^error: org\/other: no such folder, and not in the cache .*; HF_HUB_OFFLINE forbids a download\n$/,
  );
  const unknown = await runDeftune(t, [...command, '--model', 'org/model', '--revision', 'v2'], { env, code: 1 });
  t.regex(unknown.stderr, /^error: org\/model: there is no revision "v2" \(.*\)\n$/);
  t.false(existsSync(output));
});
