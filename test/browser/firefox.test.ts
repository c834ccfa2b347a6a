// The library in Firefox, driven by WebDriver BiDi: playwright has a patched Firefox of its own only.
import { existsSync } from 'node:fs';
import process from 'node:process';
import test from 'ava';
import puppeteer from 'puppeteer-core';
import { serve } from './chromium.js';
import { compareRuns, runHere, runThere, type TestPage } from './small-run.js';

const candidates = [process.env['DEFTUNE_FIREFOX'], '/usr/bin/firefox-esr', '/usr/bin/firefox'];
const executablePath = candidates.find((path) => path !== undefined && existsSync(path));
const whyNot = process.env['DEFTUNE_SKIP_WASM']
  ? 'WebAssembly is left out'
  : executablePath === undefined
    ? 'there is no Firefox'
    : undefined;
const firefoxTest = whyNot === undefined ? test.serial : test.serial.skip;
const reason = whyNot === undefined ? '' : ` [${whyNot}]`;

firefoxTest(`training in Firefox, in a worker, gives the losses of Node${reason}`, async (t) => {
  const site = await serve('test/browser/page');
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath: executablePath!, headless: true });
  try {
    const page = await browser.newPage();
    await page.goto(site.address);
    // tsx wraps named functions in a helper that the page does not have.
    await page.evaluate('globalThis.__name = (f) => f;');
    await page.waitForFunction(() => 'deftune' in globalThis);
    const { result, adapter, answers } = await runThere(page as TestPage);
    compareRuns(t, result, await runHere());
    t.deepEqual(adapter.map(([name]) => name).sort(), [
      'adapter_config.json',
      'adapter_model.safetensors',
      'deftune.json',
    ]);
    t.true(answers.every(({ score }) => score >= 0.5 && score <= 1));
    t.log(await browser.version());
  } finally {
    await browser.close();
    site.close();
  }
});
