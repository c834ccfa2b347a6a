import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { repositoryOfSnapshot } from '../../ts/io/hub/hub-cache-node.js';
import { hubSettings } from '../../ts/io/hub/hub-settings-node.js';
import {
  resolveModelDirectory,
  type DownloadProgress,
  type HubOptions,
} from '../../ts/io/hub/resolve-model-directory-node.js';
import { hashOf, TestHub, type Fault, type SeenRequest } from './hub-server.js';

const COMMIT = 'c0ffee'.padEnd(40, '0');
const REPOSITORY = 'some-org/some-model';

/** Numbers in [0, 1) that a seed fixes (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function modelFiles(size = 300_000): Record<string, Buffer> {
  return {
    '.gitattributes': Buffer.from('*.bin lfs'),
    'README.md': Buffer.from('# A model'),
    'config.json': Buffer.from('{"model_type": "bert"}'),
    'model.safetensors': randomBytes(size),
    'pytorch_model.bin': randomBytes(1000),
    'tokenizer.json': Buffer.from('{"model": {}}'),
    'tokenizer_config.json': Buffer.from('{}'),
  };
}

interface Place {
  hub: TestHub;
  cacheDir: string;
  options: HubOptions;
  folder: string;
}

async function place(t: ExecutionContext, files: Record<string, Buffer> = modelFiles()): Promise<Place> {
  const hub = await TestHub.start();
  hub.repositories.set(REPOSITORY, { commit: COMMIT, files });
  const cacheDir = mkdtempSync(join(tmpdir(), 'deftune-hub-'));
  t.teardown(async () => {
    await hub.stop();
    rmSync(cacheDir, { recursive: true, force: true });
  });
  const options = { endpoint: hub.endpoint, cacheDir, token: 'hf_secret', offline: false, patience: 5 };
  return { hub, cacheDir, options, folder: join(cacheDir, 'models--some-org--some-model') };
}

/** Faults of the transfers of one file. */
function faultOf(name: string, fault: (request: SeenRequest, count: number) => Fault | undefined): TestHub['fault'] {
  let count = 0;
  return (request) => (request.path.endsWith(`/resolve/${COMMIT}/${name}`) ? fault(request, count++) : undefined);
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** Nothing that a reader could take for the model: no blob of the file, no link, no ref, and offline it is not there. */
async function assertUnusable(t: ExecutionContext, { folder, options, hub }: Place, name: string): Promise<void> {
  const content = hub.repositories.get(REPOSITORY)!.files[name]!;
  t.false(existsSync(join(folder, 'blobs', hashOf(name, content))));
  t.false(list(join(folder, 'snapshots', COMMIT)).includes(name));
  t.deepEqual(list(join(folder, 'refs')), []);
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...options, offline: true }), {
    instanceOf: DeftuneError,
    message: /not in the cache/,
  });
}

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

for (const seed of [1, 2, 3]) {
  test(`connections cut at random places, seed ${seed}`, async (t) => {
    const { hub, options } = await place(t);
    const next = random(seed);
    const ranges: (string | undefined)[] = [];
    hub.fault = faultOf('model.safetensors', ({ range }, count) => {
      ranges.push(range);
      return count < 8 ? { cutAfter: Math.floor(next() * 60_000) } : undefined;
    });
    const directory = await resolveModelDirectory(REPOSITORY, ['model'], options);
    const { files } = hub.repositories.get(REPOSITORY)!;
    t.true(readFileSync(join(directory, 'model.safetensors')).equals(files['model.safetensors']!));
    t.true(ranges.length > 5);
    // Each goes on where the one before was cut; nothing is sent twice.
    const starts = ranges.map((range) => Number(/\d+/.exec(range ?? '0')?.[0]));
    t.deepEqual(
      starts,
      [...starts].sort((a, b) => a - b),
    );
  });
}

test('a download that is stopped leaves nothing usable, and goes on later', async (t) => {
  const at = await place(t, modelFiles(3_000_000));
  const { hub, options, folder } = at;
  hub.fault = faultOf('model.safetensors', () => ({ slow: 5 }));
  const stop = new AbortController();
  await t.throwsAsync(
    resolveModelDirectory(REPOSITORY, ['model'], {
      ...options,
      signal: stop.signal,
      onProgress: ({ loaded }) => {
        if (loaded > 1_000_000) stop.abort(new Error('stopped'));
      },
    }),
    { message: 'stopped' },
  );
  await assertUnusable(t, at, 'model.safetensors');
  t.true(list(join(folder, 'blobs')).some((name) => name.endsWith('.incomplete')));
  hub.requests.length = 0;
  hub.fault = () => undefined;
  const directory = await resolveModelDirectory(REPOSITORY, ['model'], options);
  t.regex(hub.transfers()[0]?.range ?? '', /^bytes=[1-9]\d+-$/);
  t.true(
    readFileSync(join(directory, 'model.safetensors')).equals(
      hub.repositories.get(REPOSITORY)!.files['model.safetensors']!,
    ),
  );
  t.false(list(join(folder, 'blobs')).some((name) => /\.(?:incomplete|lock)$/.test(name)));
});

test('a process killed at any time leaves nothing usable, and the next one goes on', async (t) => {
  const at = await place(t, modelFiles(6_000_000));
  const { hub, options, cacheDir } = at;
  hub.fault = (request) => (request.path.includes('/resolve/') ? { slow: 20 } : undefined);
  const module = fileURLToPath(new URL('../../ts/io/hub/resolve-model-directory-node.ts', import.meta.url));
  const code = `import { resolveModelDirectory } from ${JSON.stringify(module)};
    const options = ${JSON.stringify(options)};
    await resolveModelDirectory(${JSON.stringify(REPOSITORY)}, ['model'], { ...options, onProgress: ({ loaded }) => console.log(loaded) });`;
  const script = join(cacheDir, 'download.mts');
  writeFileSync(script, code);
  for (const bytes of [1, 1_500_000, 3_000_000]) {
    const child = spawn(process.execPath, ['--import=tsx', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let loaded = 0;
    child.stdout.on('data', (data: Buffer) => {
      loaded = Number(data.toString().trim().split('\n').at(-1));
      if (loaded >= bytes) child.kill('SIGKILL');
    });
    await new Promise((resolve) => child.on('exit', resolve));
    t.true(loaded >= bytes);
    await assertUnusable(t, at, 'model.safetensors');
  }
  hub.fault = () => undefined;
  hub.requests.length = 0;
  const directory = await resolveModelDirectory(REPOSITORY, ['model'], options);
  t.regex(hub.transfers()[0]?.range ?? '', /^bytes=[1-9]\d+-$/);
  t.true(
    readFileSync(join(directory, 'model.safetensors')).equals(
      hub.repositories.get(REPOSITORY)!.files['model.safetensors']!,
    ),
  );
});

test('wrong bytes are deleted and named', async (t) => {
  for (const name of ['model.safetensors', 'config.json']) {
    const at = await place(t);
    const { hub, options, folder } = at;
    const wrong = Buffer.from(hub.repositories.get(REPOSITORY)!.files[name]!);
    wrong[wrong.length - 1]! ^= 1;
    hub.fault = faultOf(name, () => ({ body: wrong }));
    await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), {
      instanceOf: DeftuneError,
      message:
        /^some-org\/some-model\/(?:model\.safetensors|config\.json): wrong content \(SHA-(?:256|1) \w+, expected \w+\)/,
    });
    await assertUnusable(t, at, name);
    t.false(list(join(folder, 'blobs')).some((file) => /\.(?:incomplete|lock)$/.test(file)));
    hub.fault = () => undefined;
    t.true(existsSync(join(await resolveModelDirectory(REPOSITORY, ['model'], options), name)));
  }
});

test('wrong sizes are named, whether too few bytes or too many', async (t) => {
  const at = await place(t, modelFiles(50_000));
  const { hub, options } = at;
  const { files } = hub.repositories.get(REPOSITORY)!;
  hub.fault = faultOf('model.safetensors', () => ({
    body: files['model.safetensors']!.subarray(0, 40_000),
    noRanges: true,
  }));
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), {
    message: /40000 bytes, expected 50000/,
  });
  await assertUnusable(t, at, 'model.safetensors');
  hub.fault = faultOf('model.safetensors', () => ({
    body: Buffer.concat([files['model.safetensors']!, Buffer.alloc(9)]),
  }));
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), { message: /more than the 50000 bytes/ });
  await assertUnusable(t, at, 'model.safetensors');
});

test('a server without ranges starts again', async (t) => {
  const { hub, options } = await place(t);
  hub.fault = faultOf('model.safetensors', (_, count) => ({
    noRanges: true,
    ...(count < 2 ? { cutAfter: 100_000 } : {}),
  }));
  const directory = await resolveModelDirectory(REPOSITORY, ['model'], options);
  const { files } = hub.repositories.get(REPOSITORY)!;
  t.true(readFileSync(join(directory, 'model.safetensors')).equals(files['model.safetensors']!));
});

test('what an earlier run left is used if it is good, and else replaced', async (t) => {
  for (const left of [100_000, 300_000, 400_000]) {
    const { hub, options, folder } = await place(t);
    const content = hub.repositories.get(REPOSITORY)!.files['model.safetensors']!;
    mkdirSync(join(folder, 'blobs'), { recursive: true });
    const part = join(folder, 'blobs', `${hashOf('model.safetensors', content)}.incomplete`);
    writeFileSync(part, randomBytes(left));
    const directory = await resolveModelDirectory(REPOSITORY, ['model'], options);
    t.true(readFileSync(join(directory, 'model.safetensors')).equals(content), String(left));
  }
});

test('a silent connection counts as cut', async (t) => {
  const { hub, options } = await place(t);
  hub.fault = faultOf('model.safetensors', (_, count) => (count === 0 ? { stallAfter: 65_536 } : undefined));
  await resolveModelDirectory(REPOSITORY, ['model'], { ...options, patience: 2 });
  t.deepEqual(
    hub
      .transfers()
      .map(({ range }) => range)
      .filter(Boolean),
    ['bytes=65536-'],
  );
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

const refusals: [Fault, RegExp][] = [
  [
    { status: 404, errorCode: 'RepoNotFound' },
    /there is no such repository, or it has no such revision \(http.* answered 404/,
  ],
  [{ status: 404, errorCode: 'RevisionNotFound' }, /there is no revision "main"/],
  [{ status: 401 }, /no such repository, or it is private: .*HF_TOKEN/],
  [{ status: 401, errorCode: 'GatedRepo' }, /access is restricted: accept the terms/],
  [{ status: 403 }, /access is restricted/],
];

test('refusals say what to do', async (t) => {
  for (const [fault, message] of refusals) {
    const { hub, options } = await place(t);
    hub.fault = () => fault;
    await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), { instanceOf: DeftuneError, message });
    hub.fault = faultOf('model.safetensors', () => ({ status: 401, errorCode: 'GatedRepo' }));
    await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), {
      message: /model.safetensors: access is restricted/,
    });
  }
  const { options } = await place(t);
  await t.throwsAsync(resolveModelDirectory('no/such', ['model'], options), {
    message: /^no\/such: there is no such repository/,
  });
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...options, revision: 'v9' }), {
    message: /no revision "v9"/,
  });
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...options, revision: '../x' }), {
    message: /expected a branch/,
  });
  t.truthy(await resolveModelDirectory(REPOSITORY, ['model'], { ...options, revision: 'refs/pr/1' }));
});

test('a hub that is busy is asked again', async (t) => {
  const { hub, options } = await place(t);
  const counts = new Map<string, number>();
  hub.fault = ({ path }) => {
    counts.set(path, (counts.get(path) ?? 0) + 1);
    return counts.get(path)! < 3 ? { status: 503 } : undefined;
  };
  t.truthy(await resolveModelDirectory(REPOSITORY, ['model'], options));
  hub.fault = () => ({ status: 500 });
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), { message: /could not answer .*500/ });
});

test('without a network: the cache, or an error that names the endpoint', async (t) => {
  const { hub, options, folder } = await place(t);
  const { endpoint } = hub;
  await hub.stop();
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), {
    instanceOf: DeftuneError,
    message: `${REPOSITORY}: no such folder, and ${endpoint} cannot be reached (ECONNREFUSED); check the connection, or HF_ENDPOINT`,
  });
  const again = await TestHub.start();
  t.teardown(() => again.stop());
  again.repositories.set(REPOSITORY, hub.repositories.get(REPOSITORY)!);
  await resolveModelDirectory(REPOSITORY, ['model'], { ...options, endpoint: again.endpoint });
  t.is(await resolveModelDirectory(REPOSITORY, ['model'], options), join(folder, 'snapshots', COMMIT));
});

test('what is no hub is told', async (t) => {
  const { hub, options } = await place(t);
  hub.repositories.set(REPOSITORY, { commit: '../../etc', files: {} });
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], options), {
    message: /sha is "\.\.\/\.\.\/etc", expected a hash/,
  });
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...options, endpoint: 'nonsense' }), {
    message: /HF_ENDPOINT is "nonsense"/,
  });
});

test('the token goes to the hub and not to where it sends us', async (t) => {
  const { hub, options } = await place(t);
  const store = await TestHub.start();
  t.teardown(() => store.stop());
  store.repositories.set(REPOSITORY, hub.repositories.get(REPOSITORY)!);
  hub.fault = ({ path }) =>
    path.endsWith('.safetensors') ? { redirect: store.endpoint.replace('127.0.0.1', 'localhost') } : undefined;
  // The store listens on IPv4 only, and localhost may be IPv6 first.
  await resolveModelDirectory(REPOSITORY, ['model'], options);
  t.true(hub.requests.every(({ authorization }) => authorization === 'Bearer hf_secret'));
  t.is(store.transfers().length, 1);
  t.is(store.transfers()[0]?.authorization, undefined);
});

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
