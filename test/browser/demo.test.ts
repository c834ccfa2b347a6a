// examples/browser in Chromium: used by keyboard, trained, asked, and its adapter downloaded.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { unzipSync } from 'fflate';
import { launch, serve, titleWithReason as title, whyNoChromium } from './chromium.js';

const demoTest = whyNoChromium === undefined ? test.serial : test.serial.skip;

demoTest(title('the demo page trains PEFT and DEFT, answers, and hands out the adapter'), async (t) => {
  const site = await serve('examples/browser');
  const browser = await launch();
  try {
    const page = await (await browser.newContext({ viewport: { width: 360, height: 740 } })).newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(site.address);

    // What a screen reader needs: each control has a name, each picture a description.
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLInputElement>('input, select, textarea, progress')].flatMap((control) =>
        control.labels?.length ? [] : control.id,
      ),
    );
    t.deepEqual(unnamed, []);
    t.true(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is cut at 360 px');

    // Bad input is said in one line, and the page can be used again.
    await page.selectOption('#data', 'pasted');
    await page.fill('#pasted', 'good\tyes\nbad');
    await page.click('#start');
    await page.waitForFunction(() => document.getElementById('status')!.classList.contains('bad'));
    t.is(await page.textContent('#status'), 'pasted text:3: 1 columns, expected 2 as in the header');

    const lines = ['good film\tyes', 'bad film\tno', 'so good\tyes', 'so bad\tno', 'a good one\tyes', 'a bad one\tno'];
    await page.fill('#pasted', lines.concat(lines).join('\n'));
    await page.fill('#steps', '6');
    await page.focus('#steps');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => /^Done/.test(document.getElementById('status')!.textContent), undefined, {
      timeout: 120_000,
    });
    t.regex((await page.textContent('#status')) ?? '', /^Done\. Density: PEFT [\d.]+ %, DEFT [\d.]+ %/);
    await page.waitForSelector('#maps canvas >> nth=1');
    t.is(await page.locator('#summary tbody tr').count(), 2);
    t.regex((await page.textContent('#summary')) ?? '', /6 of 6/);
    for (const chart of ['loss-chart', 'metric-chart', 'peft-layers', 'deft-layers']) {
      const label = (await page.locator(`#${chart} svg`).getAttribute('aria-label')) ?? '';
      t.regex(label, /chart, .*(PEFT|DEFT)/);
      t.notRegex(label, /nothing yet|NaN/);
    }
    t.regex((await page.textContent('#answers')) ?? '', /PEFT: (yes|no) \(0\.\d+\).*DEFT: (yes|no)/);
    t.regex((await page.locator('#maps canvas').first().getAttribute('aria-label')) ?? '', /% of \d+ tokens/);

    const download = page.waitForEvent('download');
    await page.click('#save-deft');
    const file = {
      name: 'deft-adapter.zip',
      mimeType: 'application/zip',
      buffer: readFileSync(await (await download).path()),
    };
    const zip = unzipSync(file.buffer);
    t.deepEqual(Object.keys(zip).sort(), ['adapter_config.json', 'adapter_model.safetensors', 'deftune.json']);
    const config = JSON.parse(new TextDecoder().decode(zip['adapter_config.json'])) as Record<string, unknown>;
    t.is(config['peft_type'], 'LORA');

    // Loaded in the place of the other adapter, it gives the other's answers; and what is none is refused.
    await page.setInputFiles('#adapter', { ...file, buffer: Buffer.from('no zip') });
    await page.click('#load-peft');
    await page.waitForFunction(() => document.getElementById('status')!.classList.contains('bad'));
    t.regex((await page.textContent('#status')) ?? '', /^deft-adapter\.zip is no zip: /);
    await page.setInputFiles('#adapter', file);
    await page.click('#load-peft');
    await page.waitForFunction(() => /^PEFT now answers/.test(document.getElementById('status')!.textContent));
    await page.waitForFunction(() => {
      const [peft, deft] = [...document.querySelectorAll('#answers p')].map(({ textContent }) => textContent.slice(6));
      return peft !== undefined && peft === deft;
    });
    t.deepEqual(errors, []);
  } finally {
    await browser.close();
    site.close();
  }
});
