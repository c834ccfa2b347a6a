// npm's `prepare`: builds the native addon (native/) and the TypeScript (dist/) of a checkout. One line for each step, with its seconds.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

/** Runs one step; its output is shown only when it fails (or when DEFTUNE_VERBOSE is set). */
function step(name, command, args) {
  const started = performance.now();
  const result = spawnSync(command, args, {
    stdio: process.env.DEFTUNE_VERBOSE ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (result.status === 0) {
    console.log(`prepare: ${name}: ${seconds} s`);
    return;
  }
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  const why = result.error?.message ?? (result.signal ? `ended by ${result.signal}` : `exit code ${result.status}`);
  console.error(`prepare: ${name} failed after ${seconds} s (${why})`);
  process.exit(1);
}

/** A command of an installed package, run with this very node. */
function tool(name, packagePath, args) {
  const script = join('node_modules', packagePath);
  if (!existsSync(script)) {
    console.error(`prepare: ${script} is missing: run \`npm ci\` (with its devDependencies) first.`);
    process.exit(1);
  }
  step(name, process.execPath, [script, ...args]);
}

if (!existsSync('crates')) {
  console.log('prepare: no crates/ folder here, so nothing to build');
  process.exit(0);
}

if (spawnSync('cargo', ['--version'], { stdio: 'ignore' }).status !== 0) {
  console.error(
    'prepare: building deftune needs Rust 1.89 or newer, and there is no `cargo` on PATH.\n' +
      "Install it from https://rustup.rs (or your system's packages), open a new shell, and run `npm ci` again.",
  );
  process.exit(1);
}

if (existsSync('crates/node/Cargo.toml')) {
  tool('native addon', '@napi-rs/cli/dist/cli.js', [
    'build',
    '--release',
    '--platform',
    '--no-js',
    '--manifest-path',
    'crates/node/Cargo.toml',
    '--output-dir',
    'native',
  ]);
} else {
  console.log('prepare: native addon: skipped, there is no crates/node');
}
tool('TypeScript', 'typescript/bin/tsc', ['-p', 'tsconfig.json']);
if (existsSync('dist/cli/main.js')) {
  chmodSync('dist/cli/main.js', 0o755);
  // npx runs what it finds there. Where it finds nothing, it links this package into its own cache, outside the checkout, and builds it again.
  const link = join('node_modules', '.bin', 'deftune');
  if (process.platform !== 'win32' && existsSync(dirname(link)) && !existsSync(link)) {
    rmSync(link, { force: true });
    symlinkSync(join('..', '..', 'dist', 'cli', 'main.js'), link);
  }
}
