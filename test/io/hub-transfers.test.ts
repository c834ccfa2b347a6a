// Transfers that are cut, stopped, killed, silent or wrong: nothing usable is left, and the next one goes on.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { resolveModelDirectory } from '../../ts/io/hub/resolve-model-directory-node.js';
import { REPOSITORY, assertUnusable, faultOf, list, modelFiles, place } from './hub-place.js';
import { hashOf } from './hub-server.js';

/** Numbers in [0, 1) that a seed fixes (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

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
