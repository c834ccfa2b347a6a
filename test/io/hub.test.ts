// A name on the hub becomes a directory: which files are downloaded, and where they are put.
import { randomBytes } from 'node:crypto';
import { lstatSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { repositoryOfSnapshot } from '../../ts/io/hub/hub-cache-node.js';
import { resolveModelDirectory, type DownloadProgress } from '../../ts/io/hub/resolve-model-directory-node.js';
import { COMMIT, REPOSITORY, assertUnusable, faultOf, list, modelFiles, place } from './hub-place.js';
import { hashOf } from './hub-server.js';

test('downloads what is needed, in the layout of huggingface_hub, once', async (t) => {
  const at = await place(t);
  const { hub, options, folder } = at;
  const seen: DownloadProgress[] = [];
  const directory = await resolveModelDirectory(REPOSITORY, ['model', 'tokenizer'], {
    ...options,
    onProgress: (progress) => seen.push(progress),
  });
  t.is(directory, join(folder, 'snapshots', COMMIT));
  const wanted = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
  t.deepEqual(list(directory), wanted);
  const { files } = hub.repositories.get(REPOSITORY)!;
  for (const name of wanted) {
    t.true(lstatSync(join(directory, name)).isSymbolicLink());
    t.is(readlinkSync(join(directory, name)), join('..', '..', 'blobs', hashOf(name, files[name]!)));
    t.true(readFileSync(join(directory, name)).equals(files[name]!));
  }
  t.is(list(join(folder, 'blobs')).length, wanted.length);
  t.is(readFileSync(join(folder, 'refs', 'main'), 'utf8'), COMMIT);
  t.true(seen.every(({ loaded }, index) => loaded >= (seen[index - 1]?.loaded ?? 0)));
  const total = wanted.reduce((sum, name) => sum + files[name]!.length, 0);
  t.deepEqual([seen.at(-1)?.loaded, seen.at(-1)?.total], [total, total]);
  t.is(repositoryOfSnapshot(directory), REPOSITORY);

  const before = hub.transfers().length;
  t.is(await resolveModelDirectory(REPOSITORY, ['model'], options), directory);
  t.is(hub.transfers().length, before);
  // A commit needs no question to the hub, nor does offline mode.
  const asked = hub.requests.length;
  t.is(await resolveModelDirectory(REPOSITORY, ['model'], { ...options, revision: COMMIT }), directory);
  t.is(await resolveModelDirectory(REPOSITORY, ['model'], { ...options, offline: true }), directory);
  t.is(hub.requests.length, asked);
});

test('a new commit brings the files that changed', async (t) => {
  const { hub, options, folder } = await place(t);
  await resolveModelDirectory(REPOSITORY, ['model'], options);
  const repository = hub.repositories.get(REPOSITORY)!;
  const next = 'beef'.padEnd(40, '1');
  hub.repositories.set(REPOSITORY, { commit: next, files: { ...repository.files, 'config.json': Buffer.from('{}') } });
  hub.requests.length = 0;
  const directory = await resolveModelDirectory(REPOSITORY, ['model'], options);
  t.is(directory, join(folder, 'snapshots', next));
  t.deepEqual(
    hub.transfers().map(({ path }) => path.split('/').at(-1)),
    ['config.json'],
  );
  t.is(readFileSync(join(folder, 'refs', 'main'), 'utf8'), next);
  t.is(readFileSync(join(directory, 'config.json'), 'utf8'), '{}');
  t.is(list(join(folder, 'snapshots')).length, 2);
});

test('a path that is there is a directory; one that is none stays what it is', async (t) => {
  const { hub, options, cacheDir } = await place(t);
  t.is(await resolveModelDirectory(cacheDir, ['model'], options), cacheDir);
  for (const path of [
    './some/model',
    '/no/such',
    '../model',
    'a/b/c',
    'model.safetensors',
    '~/model',
    'C:\\model',
    '',
  ]) {
    t.is(await resolveModelDirectory(path, ['model'], options), path);
  }
  t.is(hub.requests.length, 0);
});

test('shards: those that the index names', async (t) => {
  const { 'model.safetensors': whole, ...rest } = modelFiles();
  const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
  const files = {
    ...rest,
    'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
    'model-00001-of-00002.safetensors': whole!.subarray(0, 100_000),
    'model-00002-of-00002.safetensors': whole!.subarray(100_000),
    'other.safetensors': randomBytes(10),
  };
  const at = await place(t, files);
  at.hub.fault = faultOf('model-00002-of-00002.safetensors', () => ({ status: 403 }));
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], at.options), {
    message: /00002.*: access is restricted/,
  });
  await assertUnusable(t, at, 'model-00002-of-00002.safetensors');
  at.hub.fault = () => undefined;
  const directory = await resolveModelDirectory(REPOSITORY, ['model'], at.options);
  t.deepEqual(list(directory), [
    'config.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ]);
  rmSync(join(directory, 'model-00001-of-00002.safetensors'));
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...at.options, offline: true }), {
    message: /not in the cache/,
  });

  const lost = await place(
    t,
    Object.fromEntries(Object.entries(files).filter(([name]) => !name.startsWith('model-00002'))),
  );
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], lost.options), {
    message: /names model-00002-of-00002.safetensors, which the repository does not have/,
  });
});

test('adapters, and repositories without what is needed', async (t) => {
  const adapter = {
    'adapter_config.json': Buffer.from('{}'),
    'adapter_model.safetensors': randomBytes(500),
    'adapter_model.bin': randomBytes(500),
    'training_args.bin': randomBytes(5),
  };
  const at = await place(t, adapter);
  const directory = await resolveModelDirectory(REPOSITORY, ['adapter'], at.options);
  t.deepEqual(list(directory), ['adapter_config.json', 'adapter_model.safetensors']);
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], at.options), {
    message: /has no config.json, expected a model/,
  });
  const { 'model.safetensors': weights, ...pickled } = modelFiles();
  t.truthy(weights);
  const old = await place(t, pickled);
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], old.options), {
    message: /has no model.safetensors.*; pytorch_model.bin cannot be read, convert it to safetensors/,
  });
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['adapter'], old.options), {
    message: /no adapter_config.json/,
  });
});
