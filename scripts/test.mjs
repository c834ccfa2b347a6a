// What `npm test` runs: the core's Rust tests, the WASM builds, the addon and the TypeScript, and ava's tests. The last line is
// `N passed, N failed` (with `, N skipped` where any were); the exit code is 1 when anything failed. A suite that crashes, does not build, or has no
// tests counts as one failed test.
//
// --native-only leaves WASM out, as happens by itself where its toolchain cannot be had: the tests then see DEFTUNE_SKIP_WASM=1.
// DEFTUNE_ALREADY_FAILED=<n> adds failures of steps that ran before (.ci/run's lint).
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

const options = process.argv.slice(2);
for (const option of options) {
  if (option !== '--native-only') {
    console.error(`test: unknown option ${option} (known: --native-only)`);
    process.exit(2);
  }
}
const nativeOnly = options.includes('--native-only');
const total = { passed: 0, failed: Number(process.env.DEFTUNE_ALREADY_FAILED ?? 0) || 0, skipped: 0 };
const environment = { ...process.env };

/** Runs a command with its output streamed, hands each line of standard output to `onLine`, and resolves to the exit code (or the signal). */
function run(command, args, onLine = () => {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: environment });
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      console.log(line);
      onLine(line);
    });
    const linesEnded = new Promise((ended) => lines.on('close', ended));
    child.on('error', (error) => {
      console.log(`test: ${command}: ${error.message}`);
      resolve(127);
    });
    child.on('close', (code, signal) => linesEnded.then(() => resolve(code ?? signal ?? 1)));
  });
}

/** Adds one suite's counts, and one failure where it ended badly without naming a failed test, or had no tests. */
function addSuite(name, counts, status) {
  if (status !== 0 && counts.failed === 0) {
    console.log(`test: ${name} ended with ${status} without naming a failed test`);
    counts.failed += 1;
  } else if (counts.passed + counts.failed + counts.skipped === 0) {
    console.log(`test: ${name} found no tests`);
    counts.failed += 1;
  }
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}

async function rustTests() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const status = await run('cargo', ['test', '--release', '--no-fail-fast', '-p', 'deftune-core'], (line) => {
    const found = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line);
    if (!found) return;
    counts.passed += Number(found[1]);
    counts.failed += Number(found[2]);
    counts.skipped += Number(found[3]);
  });
  addSuite('cargo test', counts, status);
}

/** Builds the WASM modules; whether the WASM tests can run. */
async function buildWasm() {
  if (!existsSync('crates/wasm/Cargo.toml')) {
    console.log('test: there is no crates/wasm: the WASM tests are skipped');
    return false;
  }
  if (nativeOnly) {
    console.log('test: --native-only: the WASM tests are skipped');
    return false;
  }
  const status = await run('bash', ['scripts/build-wasm.sh']);
  if (status === 0) return true;
  if (status === 3) {
    console.log('test: no WASM toolchain here (see above): the WASM tests are skipped');
  } else {
    console.log(`test: the WASM build failed (${status}), which counts as one failed test; the WASM tests are skipped`);
    total.failed += 1;
  }
  return false;
}

async function avaTests() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  // In ava's TAP output each test is one line at the left margin, and so is each crash (`not ok`).
  const status = await run(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', '--tap'], (line) => {
    const found = /^(ok|not ok) \d+ (?:- )?.*?(?:# (SKIP|TODO)\b.*)?$/.exec(line);
    if (!found) return;
    if (found[2]) counts.skipped += 1;
    else if (found[1] === 'ok') counts.passed += 1;
    else counts.failed += 1;
  });
  addSuite('ava', counts, status);
}

try {
  await rustTests();
  if (!(await buildWasm())) environment.DEFTUNE_SKIP_WASM = '1';
  const prepared = await run(process.execPath, ['scripts/prepare.mjs']);
  if (prepared === 0) {
    await avaTests();
  } else {
    console.log('test: the addon or the TypeScript did not build, so ava was not run; this counts as one failed test');
    total.failed += 1;
  }
} catch (error) {
  console.log(`test: ${error.stack ?? error}`);
  total.failed += 1;
}
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exitCode = total.failed > 0 ? 1 : 0;
