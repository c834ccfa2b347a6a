import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

const root = fileURLToPath(new URL('../../', import.meta.url));
const program = join(root, 'dist/cli/main.js');

/** What a finished command left behind. */
export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

/** Settings of {@link runDeftune}. */
export interface RunSettings {
  cwd?: string;
  /** Exit code that is expected; default 0. */
  code?: number;
  /** Environment variables, added to this process's. */
  env?: Record<string, string>;
}

function assertBuilt(): void {
  const source = join(root, 'ts/cli/main.ts');
  if (existsSync(program) && statSync(program).mtimeMs >= statSync(source).mtimeMs) return;
  throw new Error('dist/ is missing or older than ts/: run `npm run build` before these tests');
}

// ava starts a file's tests together; two commands at a time are enough for two cores.
const FREE = { places: 2 };
const waiting: (() => void)[] = [];

async function take(): Promise<void> {
  if (FREE.places > 0) FREE.places -= 1;
  else await new Promise<void>((go) => waiting.push(go));
}

function give(): void {
  const next = waiting.shift();
  if (next) next();
  else FREE.places += 1;
}

/** Runs the built command as a user would, and checks its exit code. */
export async function runDeftune(
  t: ExecutionContext,
  args: readonly (string | number)[],
  { cwd = root, code = 0, env = {} }: RunSettings = {},
): Promise<Finished> {
  assertBuilt();
  await take();
  try {
    const finished = await new Promise<Finished>((done) => {
      execFile(
        process.execPath,
        [program, ...args.map(String)],
        { cwd, timeout: 300_000, maxBuffer: 1 << 26, env: { ...process.env, ...env } },
        (error, stdout, stderr) => {
          done({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, stdout, stderr });
        },
      );
    });
    t.is(finished.code, code, `deftune ${args.join(' ')}\n${finished.stderr}`);
    return finished;
  } finally {
    give();
  }
}

/** Starts the built command and ends it with a signal as soon as it is time. @returns exit code, or the signal that ended it */
export function endWhen(
  args: readonly (string | number)[],
  isTime: () => boolean,
  signal: NodeJS.Signals,
): Promise<number | NodeJS.Signals | null> {
  assertBuilt();
  return new Promise((done) => {
    const child = spawn(process.execPath, [program, ...args.map(String)], { stdio: 'ignore' });
    const timer = setInterval(() => {
      if (!isTime()) return;
      // Once: a second one ends it at once.
      clearInterval(timer);
      child.kill(signal);
    }, 2);
    child.on('exit', (code, endedBy) => {
      clearInterval(timer);
      done(code ?? endedBy);
    });
  });
}

/** As {@link runDeftune} with --json: the parsed result. */
export async function runJson(
  t: ExecutionContext,
  args: readonly (string | number)[],
  settings: RunSettings = {},
): Promise<Record<string, unknown>> {
  const { stdout } = await runDeftune(t, [...args, '--json'], settings);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** A folder of this test's own, removed when it ends. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-cli-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** Writes one JSON line a record and returns the path. */
export function writeLines(path: string, records: readonly unknown[]): string {
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
}

/** The objects of a JSONL file. */
export function readLines<T = Record<string, unknown>>(path: string): T[] {
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

/** Declares a test for `--backend native` and one for `--backend wasm`; the latter is skipped where it is not built. */
export function onBothBackends(title: string, body: (t: ExecutionContext, backend: string) => Promise<void>): void {
  test(`${title} [native]`, (t) => body(t, 'native'));
  const built = existsSync(join(root, 'wasm/simd128/deftune_wasm_bg.wasm'));
  if (built && process.env['DEFTUNE_SKIP_WASM'] !== '1') test(`${title} [wasm]`, (t) => body(t, 'wasm'));
  else test.skip(`${title} [wasm: not built]`, () => undefined);
}
