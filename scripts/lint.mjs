// What `npm run lint` runs: every check, also after one failed. Names those that failed; exit code 1 if any did.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

const failed = [];
function check(name, command, args) {
  console.log(`lint: ${name}`);
  if (spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0) failed.push(name);
}
function cargoCheck(name, subcommand, args) {
  if (spawnSync('cargo', [subcommand, '--version'], { stdio: 'ignore' }).status !== 0) {
    console.log(`lint: ${name}: left out, cargo ${subcommand} is not installed`);
    return;
  }
  check(name, 'cargo', [subcommand, ...args]);
}

const folders = ['ts', 'test', 'scripts', 'bench', 'docs', 'examples'].filter((folder) => existsSync(folder));
check('prettier', process.execPath, ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.']);
check('eslint', process.execPath, ['node_modules/eslint/bin/eslint.js', '--no-error-on-unmatched-pattern', ...folders]);
check('browser entry', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.browser.json']);
check('types of the tests', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.test.json']);
check('types of the examples', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'examples/browser']);
cargoCheck('cargo fmt', 'fmt', ['--all', '--check']);
cargoCheck('cargo clippy', 'clippy', ['--workspace', '--all-targets', '--', '-D', 'warnings']);
// Links between the core's docs, also those of private items.
const denied = ['--config', 'build.rustdocflags=["-D", "warnings"]'];
check('cargo doc', 'cargo', ['doc', '--workspace', '--no-deps', '--document-private-items', '--quiet', ...denied]);

if (failed.length > 0) {
  console.log(`lint: failed: ${failed.join(', ')}`);
  process.exitCode = 1;
} else {
  console.log('lint: all checks passed');
}
