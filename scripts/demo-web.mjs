// What `npm run demo:web` runs: builds examples/browser (and what it needs) and serves it. `--build` only builds.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

function step(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const vite = 'node_modules/vite/bin/vite.js';
step('bash', ['scripts/build-wasm.sh']);
step(process.execPath, ['scripts/prepare.mjs']);
step(process.execPath, [vite, 'build', 'examples/browser', '--logLevel', 'warn']);
if (!process.argv.includes('--build')) step(process.execPath, [vite, 'preview', 'examples/browser']);
