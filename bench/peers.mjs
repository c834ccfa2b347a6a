import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const benchFolder = dirname(fileURLToPath(import.meta.url));
export const root = join(benchFolder, '..');
/** Where setup-peers.sh puts the peers. */
export const peersFolder = join(root, '.cache', 'bench-peers');

const absent = (what) => {
  console.log(`${what}: absent (bench/setup-peers.sh installs it; DEFTUNE_PYTHON names a python that has it)`);
  return undefined;
};

/** A python that can import all of `modules`, or undefined after saying so. */
export function findPython(modules) {
  const candidates = [process.env.DEFTUNE_PYTHON, join(peersFolder, 'python', 'bin', 'python'), 'python3'];
  for (const python of candidates.filter(Boolean)) {
    const test = spawnSync(python, ['-c', modules.map((name) => `import ${name}`).join('\n')], { stdio: 'ignore' });
    if (test.status === 0) return python;
  }
  return absent(`python with ${modules.join(', ')}`);
}

/** Path of an npm package that setup-peers.sh installed, or undefined after saying so. */
export function findPackage(name) {
  const folder = join(peersFolder, 'node_modules', name);
  return existsSync(folder) ? folder : absent(`npm package ${name}`);
}

/** `require` as from the peers' folder. */
export const requirePeer = createRequire(join(peersFolder, 'package.json'));
