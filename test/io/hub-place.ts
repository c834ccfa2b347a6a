// A model on a hub of the test's own, a cache to download it to, and what must not be left there.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { resolveModelDirectory, type HubOptions } from '../../ts/io/hub/resolve-model-directory-node.js';
import { hashOf, TestHub, type Fault, type SeenRequest } from './hub-server.js';

export const COMMIT = 'c0ffee'.padEnd(40, '0');
export const REPOSITORY = 'some-org/some-model';

export function modelFiles(size = 300_000): Record<string, Buffer> {
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

export interface Place {
  hub: TestHub;
  cacheDir: string;
  options: HubOptions;
  folder: string;
}

export async function place(t: ExecutionContext, files: Record<string, Buffer> = modelFiles()): Promise<Place> {
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
export function faultOf(
  name: string,
  fault: (request: SeenRequest, count: number) => Fault | undefined,
): TestHub['fault'] {
  let count = 0;
  return (request) => (request.path.endsWith(`/resolve/${COMMIT}/${name}`) ? fault(request, count++) : undefined);
}

export function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** Nothing that a reader could take for the model: no blob of the file, no link, no ref, and offline it is not there. */
export async function assertUnusable(
  t: ExecutionContext,
  { folder, options, hub }: Place,
  name: string,
): Promise<void> {
  const content = hub.repositories.get(REPOSITORY)!.files[name]!;
  t.false(existsSync(join(folder, 'blobs', hashOf(name, content))));
  t.false(list(join(folder, 'snapshots', COMMIT)).includes(name));
  t.deepEqual(list(join(folder, 'refs')), []);
  await t.throwsAsync(resolveModelDirectory(REPOSITORY, ['model'], { ...options, offline: true }), {
    instanceOf: DeftuneError,
    message: /not in the cache/,
  });
}
