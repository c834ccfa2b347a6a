import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import * as ops from '../../ts/ops/index.js';
import { onEachBackend } from '../backend/on-each-backend.js';
import { checkGradients } from './gradient-check.js';
import { GRADIENT_CHECKS } from './gradient-checks.js';

test('every export of ts/ops/index.ts has a gradient check, and nothing else has', (t) => {
  t.deepEqual(Object.keys(GRADIENT_CHECKS).sort(), Object.keys(ops).sort());
  for (const [name, cases] of Object.entries(GRADIENT_CHECKS)) t.true(cases.length > 0, name);
});

test('every function that records an operation is exported from ts/ops/index.ts', async (t) => {
  const folder = new URL('../../ts/ops/', import.meta.url);
  const exported = new Set<unknown>(Object.values(ops));
  const missing: string[] = [];
  let recording = 0;
  for (const file of readdirSync(folder).filter((name) => name !== 'index.ts')) {
    if (!/\brecord(One)?\(/.test(readFileSync(new URL(file, folder), 'utf8'))) continue;
    recording += 1;
    const module = (await import(new URL(file, folder).href)) as Record<string, unknown>;
    for (const [name, value] of Object.entries(module)) {
      if (typeof value === 'function' && !exported.has(value)) missing.push(`${file}: ${name}`);
    }
  }
  t.true(recording >= 9);
  t.deepEqual(missing, []);
});

for (const [name, cases] of Object.entries(GRADIENT_CHECKS)) {
  for (const example of cases) {
    onEachBackend(`gradient of ${name}: ${example.title}`, (t, backend) => {
      const before = backend.liveTensors();
      const { operations, problems, checked, skipped } = checkGradients(backend, example);
      t.deepEqual(problems, []);
      t.true(operations.has(name), `the case does not call ${name}, but ${[...operations].join(', ')}`);
      t.true(checked > 2 * skipped, `${checked} elements checked, ${skipped} skipped at kinks`);
      t.is(backend.liveTensors(), before);
    });
  }
}

onEachBackend('a wrong gradient is found', (t, backend) => {
  const [example] = GRADIENT_CHECKS['scale'] ?? [];
  if (!example) throw new Error('scale has a case');
  let calls = 0;
  // The first two calls are the analytic ones: another factor there is a wrong derivative.
  const wrong = checkGradients(backend, {
    ...example,
    run: (_, inputs) => [ops.scale(inputs['x'] as never, ++calls <= 1 ? 1.01 : 1)],
  });
  t.true(wrong.problems.length > 0);
});
