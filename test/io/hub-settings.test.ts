import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { hubSettings } from '../../ts/io/hub/hub-settings-node.js';

test('settings come from the environment, with the names of huggingface_hub', (t) => {
  const home = mkdtempSync(join(tmpdir(), 'deftune-home-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  t.deepEqual(hubSettings({}, { HF_HOME: home }), {
    endpoint: 'https://huggingface.co',
    token: undefined,
    cacheDir: join(home, 'hub'),
    offline: false,
    patience: 30,
  });
  writeFileSync(join(home, 'token'), 'hf_file\n');
  t.is(hubSettings({}, { HF_HOME: home }).token, 'hf_file');
  t.is(hubSettings({}, { HF_HOME: home, HF_TOKEN: 'hf_env' }).token, 'hf_env');
  t.is(hubSettings({}, { HF_HOME: home, HF_HUB_CACHE: '/c' }).cacheDir, '/c');
  t.is(hubSettings({}, { XDG_CACHE_HOME: '/x' }).cacheDir, join('/x', 'huggingface', 'hub'));
  t.regex(hubSettings({}, {}).cacheDir, /[/\\]\.cache[/\\]huggingface[/\\]hub$/);
  t.is(hubSettings({}, { HF_ENDPOINT: 'http://mirror/hf/' }).endpoint, 'http://mirror/hf');
  t.true(hubSettings({}, { HF_HUB_OFFLINE: '1' }).offline);
  t.false(hubSettings({}, { HF_HUB_OFFLINE: '0' }).offline);
  t.is(hubSettings({}, { HF_HUB_DOWNLOAD_TIMEOUT: '7' }).patience, 7);
});
