// Adapters of this library as the Python libraries read them: one process for all of a library's cases.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import { Rng } from '../../ts/data/rng.js';
import type { AdapterFormat } from '../../ts/peft/peft-files.js';
import { saveAdapter } from '../../ts/peft/peft-files-node.js';
import { getPeftModel, type PeftModel, type PeftOptions } from '../../ts/peft/peft-model.js';
import { maxAbs, maxDifference } from '../models/bert-fixtures.js';
import { logitsOf, openAny, type AnyBatch } from './any-batch.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const CLASSIFIER = 'AutoModelForSequenceClassification';
const SEQ2SEQ = 'AutoModelForSeq2SeqLM';

/** The tiny models, and what transformers opens them with. */
const BASES = {
  bert: ['bert/relu/model', CLASSIFIER],
  roberta: ['roberta/model', CLASSIFIER],
  gpt2: ['gpt2/model', CLASSIFIER],
  t5: ['t5/relu/model', SEQ2SEQ],
  // Its keys are as wide as its embeddings, as peft's prefix wants them.
  't5 for prompts': ['prompt_learning/t5', SEQ2SEQ],
  vit: ['vit/model', 'AutoModelForImageClassification'],
} as const;

/** A model, and the method whose weights are random. */
export type Case = readonly [base: keyof typeof BASES, options: PeftOptions];

const draw = new Rng(11);
const texts = (...lengths: number[]): number[][] =>
  lengths.map((length) => Array.from({ length }, () => 2 + draw.nextBelow(38)));
const TEXT: AnyBatch = { inputIds: texts(5, 11, 2), labels: [0, 1, 1] };
const PAIRS: AnyBatch = { inputIds: texts(5, 9, 1), labelIds: texts(3, 1, 6) };
const IMAGES: AnyBatch = {
  pixelValues: [0, 1].map(() =>
    [0, 1].map(() => Array.from({ length: 12 }, () => Array.from({ length: 8 }, () => draw.nextNormal()))),
  ),
  labels: [0, 1],
};

/** What a library said of one adapter. */
export type Answer = Record<'keys' | 'missing' | 'unexpected', string[]> & {
  logits: number[][];
  /** Why the library cannot run this model itself, whoever wrote the adapter. */
  unsupported?: string;
};

/**
 * Tests that a library reads each case's adapter, with the logits that this library gives.
 *
 * @param variable names the python that has the library; without it the tests are skipped
 * @param script of test/fixtures
 * @param check of what is the library's own
 */
export function readByLibrary(
  { library, variable, script, format }: { library: string; variable: string; script: string; format: AdapterFormat },
  cases: Readonly<Record<string, Case>>,
  check: (t: ExecutionContext, answer: Answer, model: PeftModel) => void,
): void {
  const python = process.env[variable];
  if (python === undefined) {
    for (const name of Object.keys(cases))
      test.skip(`${library} reads ${name} [${variable} is not set]`, () => undefined);
    return;
  }
  const answered = answersOf(python, script, format, cases);
  for (const name of Object.keys(cases)) {
    test(`${library} reads ${name}`, async (t) => {
      const { answer, model, batch } = (await answered).get(name) as Answered;
      if (answer.unsupported !== undefined) {
        t.log(`${library}: ${answer.unsupported}`);
        t.pass();
        return;
      }
      check(t, answer, model);
      const wanted = answer.logits.flat();
      const error = maxDifference(logitsOf(model.base, batch), wanted);
      t.true(error <= 1e-4 * Math.max(1, maxAbs(wanted)), `logits off by ${error}`);
    });
  }
}

interface Answered {
  answer: Answer;
  model: PeftModel;
  batch: AnyBatch;
}

async function answersOf(
  python: string,
  script: string,
  format: AdapterFormat,
  cases: Readonly<Record<string, Case>>,
): Promise<Map<string, Answered>> {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const root = mkdtempSync(join(tmpdir(), 'deftune-library-'));
  try {
    const made: { name: string; model: PeftModel; batch: AnyBatch }[] = [];
    const jobs: unknown[] = [];
    for (const [name, [base, options]] of Object.entries(cases)) {
      const [path, architecture] = BASES[base];
      const directory = join(fixtures, path);
      const family = base.replace(/ .*/, '');
      const model = getPeftModel(await openAny(backend, family, directory), options);
      const rng = new Rng(7);
      for (const parameter of model.trainableParameters().values()) {
        parameter.writeStored(parameter.toStored().map((value) => value + 0.2 * rng.nextNormal()));
      }
      const batch = family === 'vit' ? IMAGES : family === 't5' ? PAIRS : TEXT;
      const adapter = join(root, String(made.length));
      saveAdapter(model, adapter, directory, {}, format);
      made.push({ name, model, batch });
      jobs.push({ model: directory, class: architecture, adapter, batch });
    }
    const output = execFileSync(python, ['-W', 'ignore', join(fixtures, script)], {
      input: JSON.stringify(jobs),
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'ignore'],
      maxBuffer: 1 << 26,
    });
    const answers = output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Answer);
    return new Map(
      made.map(({ name, model, batch }, index) => [name, { answer: answers[index] as Answer, model, batch }]),
    );
  } finally {
    rmSync(root, { recursive: true });
  }
}
