// Threads in a page: where they are allowed, the bits of one thread; where not, one thread.
import { rmSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { Browser, Page } from 'playwright-core';
import type * as Deftune from '../../ts/browser.js';
import {
  build,
  ISOLATION,
  launch,
  serveFolder,
  titleWithReason as title,
  whyNoChromium,
  type Site,
} from './chromium.js';
import { RUN, table } from './small-run.js';

const chromiumTest = whyNoChromium === undefined ? test.serial : test.serial.skip;

let browser: Browser | undefined;
let folder: string | undefined;
const sites: Site[] = [];
test.before(async () => {
  if (whyNoChromium !== undefined) return;
  folder = build('test/browser/page');
  browser = await launch();
});
test.after.always(async () => {
  await browser?.close();
  for (const site of sites) site.close();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

/** A page of the test site, and what its console says. */
async function openPage(t: ExecutionContext, headers?: Record<string, string>): Promise<[Page, string[]]> {
  const site = await serveFolder(folder!, headers);
  sites.push(site);
  const page = await (await browser!.newContext()).newPage();
  const warnings: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'warning') warnings.push(message.text());
  });
  page.on('pageerror', (error) => {
    t.log(`page: ${error.message}`);
  });
  await page.addInitScript('globalThis.__name = (f) => f;');
  await page.goto(site.address);
  await page.waitForFunction(() => 'deftune' in globalThis);
  return [page, warnings];
}

interface Outcome {
  threads: number;
  isa: string;
  losses: number[][];
  density: number;
  adapter: number[];
}

/** The small run, all at once where there are several. */
function train(page: Page, threads: readonly (number | undefined)[]): Promise<Outcome[]> {
  return page.evaluate(
    ({ table, run, threads }) => {
      const { createWorkerTrainer, recordsFromText } = globalThis.deftune;
      const records = recordsFromText(table.replace(/^sentence/, 'text'));
      const one = async (count: number | undefined): Promise<Outcome> => {
        const trainer = await createWorkerTrainer({
          ...run,
          backend: { threads: count },
          model: new URL('bert-mini-relu', location.href).href,
          trainRecords: records,
          evalRecords: records,
        });
        const { log, evaluation } = await trainer.train();
        const adapter = await trainer.adapter();
        trainer.terminate();
        return {
          threads: trainer.info.threads,
          isa: trainer.info.isa,
          losses: log.map(({ loss, densityLoss, gradNorm }) => [loss, densityLoss, gradNorm]),
          density: evaluation!.density,
          adapter: [...adapter.get('adapter_model.safetensors')!],
        };
      };
      return Promise.all(threads.map(one));
    },
    { table, run: RUN, threads },
  );
}

chromiumTest(title('a run on several threads has the bits of a run on one'), async (t) => {
  const [page, warnings] = await openPage(t);
  const [[one], [two], [three]] = [await train(page, [1]), await train(page, [2]), await train(page, [3])];
  t.is(one!.threads, 1);
  t.is(two!.threads, 2);
  t.is(two!.losses.length, RUN.args.maxSteps);
  t.deepEqual(two, { ...one!, threads: 2 });
  t.deepEqual(three, { ...one!, threads: 3 });
  // Two workers at once, each with a memory and helpers of its own.
  for (const outcome of await train(page, [2, 2])) t.deepEqual(outcome, two);
  t.deepEqual(warnings, []);
  const cores = await page.evaluate(() => navigator.hardwareConcurrency);
  t.is((await train(page, [undefined]))[0]!.threads, Math.min(8, cores), 'the default');
});

chromiumTest(title('without the headers there is one thread, and so there is on the thread of the page'), async (t) => {
  const [page, warnings] = await openPage(t, {});
  t.false(await page.evaluate(() => crossOriginIsolated));
  t.is((await train(page, [undefined]))[0]!.threads, 1);
  t.deepEqual(warnings, []);
  t.is((await train(page, [2]))[0]!.threads, 1);
  t.regex(warnings.join('\n'), /^deftune: one thread instead of 2: the page is not cross-origin isolated/);

  const [isolated] = await openPage(t);
  const said = await isolated.evaluate(async () => {
    const { createBackend } = globalThis.deftune;
    const threads = (await createBackend({ threads: 2 })).threads();
    const error = await createBackend({ threads: 0.5 }).catch((error: unknown) => (error as Error).message);
    return { threads, error };
  });
  t.deepEqual(said, { threads: 1, error: 'threads is 0.5, expected an integer from 1 to 256 (or 0 for the default)' });
});

chromiumTest(title('where helpers are not allowed there is one thread, and a warning'), async (t) => {
  const policy = { 'Content-Security-Policy': "worker-src 'self'" };
  const [page, warnings] = await openPage(t, { ...ISOLATION, ...policy });
  t.is((await train(page, [2]))[0]!.threads, 1);
  t.regex(warnings.join('\n'), /deftune: 1 of 2 threads could be started: Error: a worker from a blob: address/);
});

chromiumTest(title('a page ends its workers with their helpers'), async (t) => {
  const [page] = await openPage(t);
  const seen = await page.evaluate(
    async ({ table, run }) => {
      const { createWorkerTrainer, recordsFromText } = globalThis.deftune;
      const options: Deftune.WorkerTrainerOptions = {
        ...run,
        args: { ...run.args, maxSteps: 10_000 },
        backend: { threads: 2 },
        model: new URL('bert-mini-relu', location.href).href,
        trainRecords: recordsFromText(table.replace(/^sentence/, 'text')),
      };
      const failures: string[] = [];
      // Each has a memory of up to 4 GB of addresses: what stays behind of one would soon be missed.
      for (let round = 0; round < 12; round++) {
        let started: (() => void) | undefined;
        const step = new Promise<void>((resolve) => {
          started = resolve;
        });
        const trainer = await createWorkerTrainer({ ...options, onStep: () => started!() });
        const ended = trainer.train().catch((error: unknown) => (error as Error).message);
        await step;
        trainer.terminate();
        failures.push(`${trainer.info.threads} ${String(await ended)}`);
      }
      return failures;
    },
    { table, run: RUN },
  );
  t.deepEqual(new Set(seen), new Set(['2 the worker was terminated']));
});
