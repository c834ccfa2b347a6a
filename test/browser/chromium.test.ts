// The library in a real browser: trained there, compared with Node, read by Node and by peft, reloaded in the middle of a run.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { Browser, Page } from 'playwright-core';
import type * as Deftune from '../../ts/browser.js';
import {
  applyAdapter,
  AutoModelForSequenceClassification,
  AutoTokenizer,
  createBackend,
  predict,
  prepareExamples,
  readAdapter,
} from '../../ts/index.js';
import { softmax } from '../../ts/heads/softmax.js';
import { launch, serve, titleWithReason as title, whyNoChromium, type Site } from './chromium.js';
import { compareRuns, model, RUN, runHere, runThere, table, TEXTS, type Answer } from './small-run.js';

declare global {
  var run: Promise<Deftune.TrainResult>;
  var trainer: Deftune.WorkerTrainer;
  var saved: number;
  var events: string[];
  var steps: number;
}

const scratch = mkdtempSync(join(tmpdir(), 'deftune-chromium-'));
const chromiumTest = whyNoChromium === undefined ? test.serial : test.serial.skip;

let browser: Browser | undefined;
let site: Site | undefined;
test.before(async () => {
  if (whyNoChromium !== undefined) return;
  site = await serve('test/browser/page');
  browser = await launch();
});
test.after.always(async () => {
  await browser?.close();
  site?.close();
  rmSync(scratch, { recursive: true });
});

/** A new page of the test site, with the library in it. */
async function openPage(t: ExecutionContext): Promise<Page> {
  const page = await (await browser!.newContext()).newPage();
  page.on('pageerror', (error) => {
    t.log(`page: ${error.message}`);
  });
  // tsx wraps named functions in a helper that the page does not have.
  await page.addInitScript('globalThis.__name = (f) => f;');
  await page.goto(site!.address);
  await page.waitForFunction(() => 'deftune' in globalThis);
  return page;
}

chromiumTest(
  title('training in a worker gives the losses of Node, and its adapter goes to Node and to peft'),
  async (t) => {
    const page = await openPage(t);
    const { result, adapter, answers } = await runThere(page);
    const expected = await runHere();
    compareRuns(t, result, expected);

    const directory = join(scratch, 'adapter');
    mkdirSync(directory);
    for (const [name, bytes] of adapter) writeFileSync(join(directory, name), Buffer.from(bytes, 'latin1'));
    const backend = await createBackend({ backend: 'native' });
    const tokenizer = await AutoTokenizer.fromPretrained(model);
    const base = await AutoModelForSequenceClassification.fromPretrained(model, { backend, numLabels: 2 });
    applyAdapter(base, readAdapter(directory));
    const records = TEXTS.map((text, line) => ({ text, line }));
    const { examples } = prepareExamples(records, { head: base.head, info: base.info, tokenizer, fileName: 'texts' });
    const { outputs } = await predict(base, examples);
    for (const [index, { logits }] of outputs.entries()) {
      t.true(Math.abs(Math.max(...softmax(logits)) - answers[index]!.score) < 1e-4, TEXTS[index]);
    }

    // And back again, into a new worker.
    const again = await page.evaluate(
      async ({ adapter, texts }) => {
        const files = new Map(
          adapter.map(([name, text]) => [name, Uint8Array.from(text, (character) => character.charCodeAt(0))]),
        );
        const address = new URL('bert-mini-relu', location.href).href;
        const trainer = await globalThis.deftune.createWorkerTrainer({ model: address, adapter: files });
        const answers = await trainer.predict(texts.map((text, line) => ({ text, line })));
        trainer.terminate();
        return answers as unknown as Answer[];
      },
      { adapter, texts: TEXTS },
    );
    t.deepEqual(again, answers);

    const python = process.env['DEFTUNE_PYTHON'];
    if (python === undefined) {
      t.log('peft did not read it: DEFTUNE_PYTHON is not set');
      return;
    }
    const script = fileURLToPath(new URL('./score_with_peft.py', import.meta.url));
    const printed = execFileSync(python, [script, model, directory, JSON.stringify(TEXTS)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, HF_HUB_OFFLINE: '1' },
    });
    const scores = JSON.parse(printed) as number[];
    for (const [index, score] of scores.entries()) {
      t.true(Math.abs(score - answers[index]!.score) < 1e-4, `${TEXTS[index]}: peft says ${score}`);
    }
  },
);

chromiumTest(title('files are fetched with progress, F16 as F16, and come from the cache the next time'), async (t) => {
  const page = await openPage(t);
  const { events, size, dtype, second } = await page.evaluate(async () => {
    const { fetchModel } = globalThis.deftune;
    const address = new URL('bert-mini-relu/', location.href);
    const events: Deftune.FetchProgress[] = [];
    const onProgress = (progress: Deftune.FetchProgress): void => {
      events.push(progress);
    };
    const files = await fetchModel(address, { onProgress });
    const weights = files.get('model.safetensors')!;
    const header = new TextDecoder().decode(weights.subarray(8, 400));
    const second: Deftune.FetchProgress[] = [];
    const cached = await fetchModel(address, { onProgress: (progress) => second.push(progress) });
    if (cached.get('model.safetensors')!.some((byte, index) => byte !== weights[index])) throw new Error('other bytes');
    const dtype = /"dtype":"(\w+)"/.exec(header)?.[1];
    return { events, size: weights.length, dtype, second };
  });
  const ofWeights = events.filter(({ file }) => file === 'model.safetensors');
  t.deepEqual(ofWeights.at(-1), { file: 'model.safetensors', loaded: size, total: size, isCached: false });
  t.true(ofWeights.every(({ loaded }, index) => index === 0 || loaded > ofWeights[index - 1]!.loaded));
  t.is(dtype, 'F16');
  t.true(second.length >= 3 && second.every(({ isCached }) => isCached));
  const missing = await page.evaluate(() =>
    globalThis.deftune.fetchModel('nowhere').then(
      () => '',
      (error: unknown) => (error as Error).message,
    ),
  );
  t.regex(missing, /nowhere\/config\.json: there is no such file$/);
});

chromiumTest(title('a run pauses, answers meanwhile, goes on and stops'), async (t) => {
  const page = await openPage(t);
  const seen = await page.evaluate(
    async ({ table, run }) => {
      const { createWorkerTrainer, recordsFromText } = globalThis.deftune;
      let steps = 0;
      const until = async (wanted: () => boolean): Promise<void> => {
        while (!wanted()) await new Promise((resolve) => setTimeout(resolve, 5));
      };
      const trainer = await createWorkerTrainer({
        ...run,
        args: { ...run.args, maxSteps: 1000 },
        model: new URL('bert-mini-relu', location.href).href,
        trainRecords: recordsFromText(table.replace(/^sentence/, 'text')),
        onStep: () => {
          steps += 1;
        },
      });
      const { isa, totalSteps, labelNames } = trainer.info;
      const ended = trainer.train();
      await until(() => steps >= 3);
      trainer.pause();
      // The step at hand may still end.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const before = steps;
      const answers = await trainer.predict([{ text: 'good', line: 1 }]);
      const map = await trainer.activations('a good film');
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const after = steps;
      trainer.resume();
      await until(() => steps >= after + 2);
      trainer.stop();
      const result = await ended;
      const late = await trainer.predict([{ text: 'good', line: 1 }]);
      const refused = await trainer.predict([{ text: ' ', line: 7 }]).catch((error: unknown) => error as Error);
      trainer.terminate();
      const dead = await trainer.predict([]).catch((error: unknown) => (error as Error).message);
      return {
        ...{ isa, totalSteps, labelNames, before, after, steps, dead },
        answers: answers.length + late.length,
        map: { tokens: map.tokens, layers: map.layers.map(({ width, values }) => [width, values.length]) },
        ended: result.ended,
        refused: refused instanceof globalThis.deftune.DeftuneError ? refused.message : 'no error',
      };
    },
    { table, run: RUN },
  );
  t.is(seen.isa, 'relaxed-simd');
  t.is(seen.totalSteps, 1000);
  t.is(seen.before, seen.after, 'no step during the pause');
  t.is(seen.answers, 2);
  t.deepEqual(seen.map.tokens, ['[CLS]', 'a', 'good', 'film', '[SEP]']);
  t.deepEqual(seen.map.layers, Array(3).fill([1536, 5 * 1536]));
  t.is(seen.ended, 'aborted');
  t.true(seen.steps < 1000);
  t.regex(seen.refused, /^records:7: text is " ", expected one that is not empty/);
  t.is(seen.dead, 'the worker was terminated');
});

chromiumTest(title('a run goes on after the page was reloaded in the middle of it'), async (t) => {
  const page = await openPage(t);
  const begin = (name: string, resume: boolean): Promise<void> =>
    page.evaluate(
      async ({ table, run, name, resume }) => {
        const { createWorkerTrainer, recordsFromText } = globalThis.deftune;
        globalThis.saved = 0;
        globalThis.trainer = await createWorkerTrainer({
          ...run,
          args: { ...run.args, maxSteps: 12, saveSteps: 3 },
          model: new URL('bert-mini-relu', location.href).href,
          trainRecords: recordsFromText(table.replace(/^sentence/, 'text')),
          checkpoints: { name },
          onSave: (step) => {
            globalThis.saved = step;
          },
        });
        globalThis.run = globalThis.trainer.train({ resume });
      },
      { table, run: RUN, name, resume },
    );
  const finish = (): Promise<Deftune.TrainResult> => page.evaluate(() => globalThis.run);
  await begin('reloaded', false);
  await page.waitForFunction(() => globalThis.saved >= 3);
  await page.reload();
  await page.waitForFunction(() => 'deftune' in globalThis);
  await begin('reloaded', true);
  const resumed = await finish();
  await begin('whole', false);
  const whole = await finish();
  t.true(resumed.resumedAfter >= 3);
  t.is(whole.resumedAfter, 0);
  const losses = (result: Deftune.TrainResult): number[] =>
    result.log.filter(({ step }) => step > resumed.resumedAfter).map(({ loss }) => loss);
  t.is(losses(resumed).length, 12 - resumed.resumedAfter);
  t.deepEqual(losses(resumed), losses(whole));
});

chromiumTest(
  title('no task of the page takes 50 ms while a worker opens a model, trains, and sends its adapter'),
  async (t) => {
    const page = await openPage(t);
    const round = (): Promise<number> =>
      page.evaluate(
        async ({ table, run }) => {
          const { createWorkerTrainer, recordsFromText } = globalThis.deftune;
          let longest = 0;
          const observer = new PerformanceObserver((list) => {
            for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
          });
          // Chromium reports tasks of 50 ms and more.
          observer.observe({ type: 'longtask' });
          const records = recordsFromText(table.replace(/^sentence/, 'text'));
          const trainer = await createWorkerTrainer({
            ...run,
            args: { ...run.args, evalSteps: 3 },
            model: new URL('bert-mini-relu', location.href).href,
            trainRecords: records,
            evalRecords: records,
          });
          await trainer.train();
          await trainer.adapter();
          trainer.terminate();
          await new Promise((resolve) => setTimeout(resolve, 100));
          observer.disconnect();
          return longest;
        },
        { table, run: RUN },
      );
    // On a machine that has no core left for the page any task is late at times: a task of ours would be long in every round.
    const rounds: number[] = [];
    while (rounds.length < 4 && rounds.at(-1) !== 0) rounds.push(await round());
    t.log('longest task of each round in ms (0: none of 50 or more):', rounds.join(', '));
    t.is(rounds.at(-1), 0);
  },
);
