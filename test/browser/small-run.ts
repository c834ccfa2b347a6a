// One small run, done here on the native backend and in a page's worker, and the comparison of the two.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type * as Deftune from '../../ts/browser.js';
import {
  AutoModelForSequenceClassification,
  AutoTokenizer,
  createBackend,
  densityLoss,
  getPeftModel,
  loadDataset,
  Trainer,
} from '../../ts/index.js';

declare global {
  /** What test/browser/page puts there. */
  var deftune: typeof Deftune;
}

/** A page as playwright and puppeteer have it. */
export interface TestPage {
  evaluate<R, A>(work: (argument: A) => Promise<R>, argument: A): Promise<R>;
}

const root = fileURLToPath(new URL('../../', import.meta.url));
export const model = join(root, 'assets/bert-mini-relu');

// The first sentences of the bundled sample, as few as a test has time for.
export const table = readFileSync(join(root, 'assets/sst2-sample/train.tsv'), 'utf8')
  .split('\n')
  .slice(0, 49)
  .join('\n');
export const RUN = {
  peft: { method: 'lora', r: 8, loraAlpha: 16, targetModules: ['query', 'value'] },
  density: { alpha: 0.05 },
  args: { maxSteps: 6, batchSize: 8, learningRate: 1e-3, seed: 3 },
};
export const TEXTS = ['a gripping and funny film', 'a dull mess', 'not good'];

export type Result = Pick<Deftune.TrainResult, 'log' | 'evaluation'>;

/** The same run in this process, on the native backend. */
export async function runHere(): Promise<Result> {
  const backend = await createBackend({ backend: 'native' });
  const tokenizer = await AutoTokenizer.fromPretrained(model);
  const base = await AutoModelForSequenceClassification.fromPretrained(model, { backend, numLabels: 2 });
  const scratch = mkdtempSync(join(tmpdir(), 'deftune-small-run-'));
  const file = join(scratch, 'train.tsv');
  writeFileSync(file, table);
  const trainDataset = await loadDataset(file, { tokenizer, model: base });
  rmSync(scratch, { recursive: true });
  const peftModel = getPeftModel(base, RUN.peft);
  const auxiliaryLosses = [densityLoss(RUN.density, base.info.activation)];
  const trainer = new Trainer({
    model: peftModel,
    trainDataset,
    evalDataset: trainDataset,
    args: RUN.args,
    auxiliaryLosses,
  });
  const result = await trainer.train();
  base.dispose();
  return result;
}

/** The run in a worker of the page; its result, the adapter's files, and what it answers. */
export async function runThere(
  page: TestPage,
): Promise<{ result: Result; adapter: [string, string][]; answers: Answer[] }> {
  return page.evaluate(
    async ({ table, run, texts }) => {
      const { createWorkerTrainer, recordsFromText } = globalThis.deftune;
      const records = recordsFromText(table.replace(/^sentence/, 'text'));
      const trainer = await createWorkerTrainer({
        ...run,
        model: new URL('bert-mini-relu', location.href).href,
        trainRecords: records,
        evalRecords: records,
      });
      const { log, evaluation } = await trainer.train();
      const answers = await trainer.predict(texts.map((text, line) => ({ text, line })));
      const files = await trainer.adapter('bert-mini-relu');
      trainer.terminate();
      // Bytes as text of one character each.
      const adapter = [...files].map(([name, bytes]): [string, string] => [
        name,
        Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''),
      ]);
      return { result: { log, evaluation }, adapter, answers: answers as unknown as Answer[] };
    },
    { table, run: RUN, texts: TEXTS },
  );
}

export interface Answer {
  label: string;
  score: number;
}

/** The steps and the evaluation of two runs are within 1e-3. */
export function compareRuns(t: ExecutionContext, result: Result, expected: Result): void {
  t.is(result.log.length, RUN.args.maxSteps);
  for (const [index, log] of result.log.entries()) {
    const other = expected.log[index]!;
    for (const key of ['loss', 'taskLoss', 'densityLoss'] as const) {
      t.true(Math.abs(log[key] - other[key]) < 1e-3, `step ${log.step}: ${key} ${log[key]}, in Node ${other[key]}`);
    }
    t.is(log.tokens, other.tokens);
  }
  t.true(Math.abs(result.evaluation!.loss - expected.evaluation!.loss) < 1e-3);
  t.true(Math.abs(result.evaluation!.density - expected.evaluation!.density) < 1e-3);
}
