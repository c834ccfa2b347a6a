import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { chromium } from 'playwright-core';

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};
const PAGE = '<!doctype html><title>deftune bench</title>';

/** Path of a Chromium: DEFTUNE_CHROMIUM or Debian's; undefined where there is none. */
export function findChromium() {
  const candidates = [process.env.DEFTUNE_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'];
  return candidates.find((path) => path && existsSync(path));
}

/**
 * Opens an empty, cross-origin isolated page (its clock then counts in steps of 5 µs) in a headless Chromium.
 *
 * @param folders folders by the first part of the path they are served under
 * @param files content by path, `/probe.wasm`
 */
export async function openPage(executablePath, folders, files = {}) {
  const server = createServer((request, response) => {
    const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const [, folder, ...rest] = pathname.split('/');
    const path = folders[folder] && join(folders[folder], ...rest);
    const content =
      pathname === '/'
        ? PAGE
        : (files[pathname] ?? (path && existsSync(path) && statSync(path).isFile() && readFileSync(path)));
    if (!content) return void response.writeHead(404, headers).end();
    const type = TYPES[extname(pathname) || '.html'] ?? 'application/octet-stream';
    response.writeHead(200, { ...headers, 'Content-Type': type }).end(content);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({ executablePath, headless: true, args: ['--no-sandbox', '--disable-gpu'] });
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`page: ${error.message}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  return {
    page,
    version: browser.version(),
    async close() {
      await browser.close();
      server.closeAllConnections();
      server.close();
    },
  };
}
