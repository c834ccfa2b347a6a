// A headless Chromium, and pages built by Vite and served as a cross-origin isolated site.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser } from 'playwright-core';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Path of a Chromium, DEFTUNE_CHROMIUM first; undefined where there is none. */
function findChromium(): string | undefined {
  const candidates = [process.env['DEFTUNE_CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser'];
  return candidates.find((path) => path !== undefined && existsSync(path));
}

const executablePath = findChromium();

/** Why the tests in a browser cannot run here; undefined where they can. */
export const whyNoChromium = process.env['DEFTUNE_SKIP_WASM']
  ? 'WebAssembly is left out'
  : executablePath === undefined
    ? 'there is no Chromium'
    : undefined;

/** A test's title, with the reason where it is skipped. */
export const titleWithReason = (name: string): string =>
  whyNoChromium === undefined ? name : `${name} [${whyNoChromium}]`;

/** Starts it. @throws Error where there is none */
export function launch(): Promise<Browser> {
  if (executablePath === undefined) throw new Error('there is no Chromium');
  const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update'];
  return chromium.launch({
    executablePath,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-sync', ...quiet],
  });
}

/** A site on a port of its own. */
export interface Site {
  address: string;
  close(): void;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

type Headers = Record<string, string>;

/** With these a page is cross-origin isolated. */
export const ISOLATION: Headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** Builds a page (a folder of this repository with an index.html) with the files of assets/ beside it, into a folder of its own. */
export function build(page: string): string {
  const output = mkdtempSync(join(tmpdir(), 'deftune-site-'));
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  const config = ['--config', join(root, 'examples/browser/vite.config.ts'), '--configLoader', 'runner'];
  const args = ['build', join(root, page), '--outDir', output, '--logLevel', 'warn', ...config];
  const built = spawnSync(process.execPath, [vite, ...args], { encoding: 'utf8', cwd: root });
  if (built.status !== 0) throw new Error(`vite build ${page}: ${built.stdout}${built.stderr}`);
  return output;
}

/** Builds a page and serves it. */
export async function serve(page: string): Promise<Site> {
  const output = build(page);
  const site = await serveFolder(output);
  return {
    address: site.address,
    close() {
      site.close();
      rmSync(output, { recursive: true });
    },
  };
}

/** Serves the files of a folder. */
export async function serveFolder(output: string, headers = ISOLATION): Promise<Site> {
  const server = createServer((request, response) => {
    const name = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    const path = join(output, name.endsWith('/') ? `${name}index.html` : name);
    if (!path.startsWith(output) || !existsSync(path) || !statSync(path).isFile()) {
      response.writeHead(404, headers).end();
      return;
    }
    const body = readFileSync(path);
    const type = TYPES[extname(path)] ?? 'application/octet-stream';
    response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': body.length }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
