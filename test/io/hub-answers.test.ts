// What the hub answers besides files: refusals, being busy or not there, and another place to ask.
import { join } from 'node:path';
import test from 'ava';
import { DeftuneError } from '../../ts/error.js';
import { resolveModelDirectory } from '../../ts/io/hub/resolve-model-directory-node.js';
import { COMMIT, REPOSITORY, faultOf, place } from './hub-place.js';
import { TestHub, type Fault } from './hub-server.js';

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
