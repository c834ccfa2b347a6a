import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { promisify } from 'node:util';
import test from 'ava';

test('the example of README.md runs as printed', async (t) => {
  const readme = readFileSync('README.md', 'utf8');
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1];
  if (example === undefined) {
    t.fail('README.md has no TypeScript example');
    return;
  }
  // Inside the package, so that `deftune` resolves to what its exports name.
  mkdirSync('.cache', { recursive: true });
  writeFileSync('.cache/readme-example.mts', example);
  const { stdout } = await promisify(execFile)(process.execPath, ['--import=tsx', '.cache/readme-example.mts']);
  t.regex(stdout, /trainable params: [\d,]+ \|\| all params: [\d,]+/);
  const accuracy = Number(/metric: ([\d.]+)/.exec(stdout)?.[1]);
  const density = Number(/\n {2}density: ([\d.]+)/.exec(stdout)?.[1]);
  t.true(accuracy > 0.6, `accuracy ${accuracy}`);
  t.true(density > 0 && density < 0.2, `density ${density}`);
});
