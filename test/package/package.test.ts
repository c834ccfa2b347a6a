// The package as npm packs it: its entries checked by publint and attw, and the tarball installed, imported, required and bundled.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { launch, serveFolder, whyNoChromium } from '../browser/chromium.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'deftune-package-'));
test.after.always(() => {
  rmSync(scratch, { recursive: true });
});
const wasmTest = process.env['DEFTUNE_SKIP_WASM'] ? test.serial.skip : test.serial;

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}\n${stdout}${stderr}`);
}

let packed: string | undefined;

/** The tarball, made once; the scripts that build what goes into it have run before the tests. */
function tarball(): string {
  packed ??= join(
    scratch,
    run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', scratch], root)
      .trim()
      .split('\n')
      .at(-1)!,
  );
  return packed;
}

for (const build of ['simd128', 'relaxed', 'simd128-threads', 'relaxed-threads']) {
  wasmTest(`wasm/${build} is under 600 kB, gzipped under 250 kB`, (t) => {
    const bytes = readFileSync(join(root, `wasm/${build}/deftune_wasm_bg.wasm`));
    const gzipped = gzipSync(bytes, { level: 9 }).length;
    t.log(`${bytes.length} bytes, ${gzipped} gzipped`);
    t.true(bytes.length < 600_000);
    t.true(gzipped < 250_000);
  });
}

wasmTest('publint finds nothing', async (t) => {
  const { publint } = await import('publint');
  const { formatMessage } = await import('publint/utils');
  const { messages, pkg } = await publint({ pkgDir: root, strict: true, pack: false });
  t.deepEqual(
    messages.map((message) => formatMessage(message, pkg as Parameters<typeof formatMessage>[1])),
    [],
  );
});

wasmTest('attw finds nothing: types for import, require and bundlers', (t) => {
  const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  // Left out: TypeScript's node10, which knows no `exports`; and the worker's script, which pages start and nothing requires.
  t.notThrows(() =>
    run(
      process.execPath,
      [attw, tarball(), '--profile', 'node16', '--exclude-entrypoints', 'worker', '--no-emoji'],
      root,
    ),
  );
});

/** The bundlers' own way, each without configuration. */
const BUNDLERS: Record<string, { install: string[]; build: string[]; page?: string }> = {
  vite: { install: ['vite@8.3.8'], build: ['vite', 'build', '--logLevel', 'warn'] },
  esbuild: {
    install: ['esbuild@0.28.2'],
    build: ['esbuild', 'main.js', '--bundle', '--format=esm', '--platform=browser', '--outfile=dist/main.js'],
    page: '<script type="module" src="main.js"></script>',
  },
  webpack: {
    install: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
    build: ['webpack', 'build', './main.js', '--mode', 'production', '--output-path', 'dist'],
    page: '<script defer src="main.js"></script>',
  },
  rollup: {
    install: ['rollup@4.68.8', '@rollup/plugin-node-resolve@16.0.3'],
    build: ['rollup', 'main.js', '-p', 'node-resolve={browser:true}', '-d', 'dist', '--silent'],
    page: '<script type="module" src="main.js"></script>',
  },
};

const MAIN = `import { createBackend, createWorkerTrainer, getPeftModel } from 'deftune';
const backend = await createBackend();
const y = backend.linear(backend.uploadF32(Float32Array.of(2), 1, 1), backend.uploadF32(Float32Array.of(3), 1, 1), 0);
const trainer = await createWorkerTrainer({
  model: 'model',
  peft: { method: 'lora', r: 2 },
  trainRecords: [0, 1].map((label) => ({ inputIds: [2, 5 + label, 7, 3], label, line: 1 + label })),
  args: { maxSteps: 2 },
});
const { steps } = await trainer.train();
document.title = [
  ...[backend.isaName(), typeof getPeftModel, backend.readF32(y)[0]],
  ...[steps, 'steps on', trainer.info.threads, trainer.info.isa],
].join(' ');
`;
const MODEL = join(root, 'test/fixtures/bert/relu/model');

/** A fresh project with the tarball in it; undefined, with a message, where npm's registry cannot be reached. */
function project(t: ExecutionContext): string | undefined {
  const folder = join(scratch, 'project');
  if (existsSync(folder)) return folder;
  if (spawnSync('npm', ['ping', '--fetch-timeout=15000', '--fetch-retries=0'], { stdio: 'ignore' }).status !== 0) {
    t.log("skipped: npm's registry cannot be reached");
    t.pass();
    return undefined;
  }
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'package.json'),
    '{ "name": "fresh", "version": "1.0.0", "private": true, "type": "module" }\n',
  );
  writeFileSync(join(folder, 'main.js'), MAIN);
  writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="main.js"></script>\n');
  const packages = Object.values(BUNDLERS).flatMap(({ install }) => install);
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball(), ...packages], folder);
  return folder;
}

wasmTest('the tarball is imported and required in Node, and its types fit both', (t) => {
  const folder = project(t);
  if (folder === undefined) return;
  const use =
    'createBackend({ backend: "wasm" }).then((b) => console.log(b.isaName(), typeof Trainer, typeof loadDataset))';
  writeFileSync(join(folder, 'use.mjs'), `import { createBackend, loadDataset, Trainer } from 'deftune';\n${use};\n`);
  writeFileSync(
    join(folder, 'use.cjs'),
    `const { createBackend, loadDataset, Trainer } = require('deftune');\n${use};\n`,
  );
  for (const file of ['use.mjs', 'use.cjs']) {
    t.regex(execFileSync(process.execPath, [file], { cwd: folder, encoding: 'utf8' }), /^simd128 function function\n$/);
  }
  const body =
    'const model: Model | undefined = undefined;\nexport const x: [Promise<Backend>, Model | undefined] = [createBackend(), model];\n';
  writeFileSync(join(folder, 'use.mts'), `import { createBackend, type Backend, type Model } from 'deftune';\n${body}`);
  writeFileSync(
    join(folder, 'use2.cts'),
    `import { createBackend, type Backend, type Model } from 'deftune';\n${body}`,
  );
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const flags = [
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2023,dom,esnext.disposable',
    '--noEmit',
    '--strict',
  ];
  t.notThrows(() => run(process.execPath, [tsc, ...flags, '--skipLibCheck', 'use.mts', 'use2.cts'], folder));
});

for (const [name, { build, page }] of Object.entries(BUNDLERS)) {
  wasmTest(`${name} builds a fresh project with the browser entry, which runs in Chromium`, async (t) => {
    const folder = project(t);
    if (folder === undefined) return;
    const dist = join(folder, 'dist');
    rmSync(dist, { recursive: true, force: true });
    const [command, ...args] = build as [string, ...string[]];
    run(join(folder, 'node_modules/.bin', command), args, folder);
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) =>
      statSync(join(dist, file)).isFile(),
    );
    const scripts = files.filter((file) => file.endsWith('.js'));
    const code = scripts.map((file) => readFileSync(join(dist, file), 'utf8')).join('\n');
    t.true(code.includes('could not be loaded'), 'the browser entry is in the bundle');
    t.false(/from\s*["']node:|require\(["']node:/.test(code), 'nothing of Node is in it');
    t.log(`${name}: ${files.map((file) => `${file} ${statSync(join(dist, file)).size}`).join(', ')}`);
    // Vite and webpack follow `new URL(file, import.meta.url)`; the others have the copy in a script.
    if (name === 'vite' || name === 'webpack') t.is(files.filter((file) => file.endsWith('.wasm')).length, 4);
    if (whyNoChromium !== undefined) {
      t.log(`not run: ${whyNoChromium}`);
      return;
    }
    if (page !== undefined) writeFileSync(join(dist, 'index.html'), `<!doctype html>${page}\n`);
    cpSync(MODEL, join(dist, 'model'), { recursive: true });
    const site = await serveFolder(dist);
    const browser = await launch();
    try {
      const tab = await browser.newPage();
      await tab.goto(site.address);
      tab.on('pageerror', ({ message }) => {
        t.log(`page: ${message}`);
      });
      await tab.waitForFunction(() => document.title.includes('steps'), undefined, { timeout: 40_000 });
      const cores = await tab.evaluate(() => navigator.hardwareConcurrency);
      const threads = name === 'vite' || name === 'webpack' ? Math.min(8, cores) : 1;
      t.is(await tab.title(), `relaxed-simd function 6 2 steps on ${threads} relaxed-simd`);
    } finally {
      await browser.close();
      site.close();
    }
  });
}
