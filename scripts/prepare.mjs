// npm's `prepare`: builds the native addon (native/) and the TypeScript (dist/) of a checkout. One line for each step, with its seconds.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
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

/** When anything of a file or folder was last changed, deletions included; 0 where it does not exist. */
function lastChange(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => lastChange(join(path, name))));
}

/**
 * Runs a command of an installed package with this very node, unless its last success is newer than its sources: `npx deftune` runs this script
 * again, once, before it runs the command.
 */
function tool(name, { script: packagePath, args, sources, output }) {
  const script = join('node_modules', packagePath);
  if (!existsSync(script)) {
    console.error(`prepare: ${script} is missing: run \`npm ci\` (with its devDependencies) first.`);
    process.exit(1);
  }
  const stamp = join('.cache', `prepared-${output.replaceAll('/', '-')}`);
  // Begun before the sources are read, so that a change during the build counts as newer.
  const begun = new Date();
  // The stamp says how the step left its output: what came there in another way is not taken for this step's.
  const isOwn = existsSync(stamp) && readFileSync(stamp, 'utf8') === String(lastChange(output));
  if (isOwn && lastChange(stamp) > Math.max(...sources.map(lastChange))) {
    console.log(`prepare: ${name}: up to date`);
    return;
  }
  step(name, process.execPath, [script, ...args]);
  mkdirSync('.cache', { recursive: true });
  writeFileSync(stamp, String(lastChange(output)));
  utimesSync(stamp, begun, begun);
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
  tool('native addon', {
    script: '@napi-rs/cli/dist/cli.js',
    args: [
      ...['build', '--release', '--platform', '--no-js'],
      ...['--manifest-path', 'crates/node/Cargo.toml', '--output-dir', 'native'],
    ],
    sources: ['crates/core', 'crates/node', 'Cargo.toml', 'Cargo.lock'],
    output: 'native',
  });
} else {
  console.log('prepare: native addon: skipped, there is no crates/node');
}
tool('TypeScript', {
  script: 'typescript/bin/tsc',
  args: ['-p', 'tsconfig.json'],
  sources: ['ts', 'tsconfig.json', 'package-lock.json'],
  output: 'dist',
});
const glue = ['simd128', 'simd128-threads'].map((build) => `wasm/${build}/deftune_wasm.js`);
if (glue.every((file) => existsSync(file))) {
  tool('Web Worker in one file', {
    script: '../scripts/inline-worker.mjs',
    args: [],
    sources: ['dist', 'scripts/inline-worker.mjs', 'package-lock.json', ...glue],
    output: 'wasm/worker',
  });
}
if (existsSync('dist/cli/main.js')) chmodSync('dist/cli/main.js', 0o755);
