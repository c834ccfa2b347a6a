// A cache that several use at once, or that cannot be written to.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { resolveModelDirectory } from '../../ts/io/hub/resolve-model-directory-node.js';
import { REPOSITORY, faultOf, place } from './hub-place.js';
import { hashOf } from './hub-server.js';

test('calls at the same time load a file once', async (t) => {
  const { hub, options } = await place(t);
  hub.fault = faultOf('model.safetensors', () => ({ slow: 20 }));
  const [first, second] = await Promise.all([1, 2].map(() => resolveModelDirectory(REPOSITORY, ['model'], options)));
  t.is(first, second);
  t.is(hub.transfers().filter(({ path }) => path.endsWith('model.safetensors')).length, 1);
});

test('a lock of a process that is gone is taken over', async (t) => {
  const { hub, options, folder } = await place(t);
  const gone = spawnSync(process.execPath, ['-e', '']).pid;
  mkdirSync(join(folder, 'blobs'), { recursive: true });
  const hash = hashOf('model.safetensors', hub.repositories.get(REPOSITORY)!.files['model.safetensors']!);
  writeFileSync(join(folder, 'blobs', `${hash}.lock`), String(gone));
  t.truthy(await resolveModelDirectory(REPOSITORY, ['model'], options));
});

test('a cache that cannot be written to is named', async (t) => {
  const { options, cacheDir } = await place(t);
  writeFileSync(join(cacheDir, 'file'), '');
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...options, cacheDir: join(cacheDir, 'file') }), {
    instanceOf: DeftuneError,
    message: /file.*: cannot write: /,
  });
});
