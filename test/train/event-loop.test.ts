// What a run leaves to the rest of the process: the event loop, the memory, other runs.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { createBackend } from '../../ts/backend/create-backend-node.js';
import type { Example } from '../../ts/data/batching.js';
import { Rng } from '../../ts/data/rng.js';
import { loadDataset } from '../../ts/heads/load-dataset-node.js';
import { AutoModel } from '../../ts/models/auto-model-node.js';
import { getPeftModel } from '../../ts/peft/peft-model.js';
import { Trainer, type StepLog } from '../../ts/train/trainer.js';
import type { TrainingJob } from '../../ts/train/train-in-worker-node.js';

const bundled = fileURLToPath(new URL('../../assets/bert-mini-relu', import.meta.url));
const fixture = fileURLToPath(new URL('../fixtures/bert/relu/model', import.meta.url));
const dist = new URL('../../dist/index.js', import.meta.url);

/** The built package: a worker thread runs compiled files. */
async function built(): Promise<typeof import('../../ts/index.js')> {
  if (!existsSync(dist)) throw new Error('dist/ is missing: run `npm run build` before these tests');
  return (await import(dist.href)) as typeof import('../../ts/index.js');
}

/** How late a 10 ms timer is while `body` runs, in ms. */
async function lateness<T>(body: () => Promise<T>): Promise<{ result: T; late: number[] }> {
  const late: number[] = [];
  let due = performance.now() + 10;
  const timer = setInterval(() => {
    late.push(performance.now() - due);
    due = performance.now() + 10;
  }, 10);
  const result = await body();
  clearInterval(timer);
  return { result, late };
}

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-run-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

function recordsFile(t: ExecutionContext, count: number, length: number, vocabulary: number): string {
  const rng = new Rng(5, 5);
  const path = join(folderOf(t), 'records.jsonl');
  const records = Array.from({ length: count }, (_, index) => ({
    inputIds: Array.from({ length }, () => 5 + rng.nextBelow(vocabulary - 5)),
    label: index % 2,
  }));
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
}

const withoutTime = (log: readonly StepLog[]): StepLog[] => log.map((entry) => ({ ...entry, seconds: 0 }));

test.serial('a 10 ms timer is never late by more than one step', async (t) => {
  const backend = await createBackend({ backend: 'native', threads: 1 });
  const base = await AutoModel.fromPretrained(bundled, { backend, head: 'SequenceClassification' });
  const path = recordsFile(t, 32, 30, 1000);
  const examples: Example[] = await loadDataset(path, { model: base });
  const trainer = new Trainer({
    model: getPeftModel(base, { method: 'lora' }),
    trainDataset: examples,
    evalDataset: examples,
    args: { maxSteps: 8, batchSize: 16, evalSteps: 4 },
  });
  const { result, late } = await lateness(() => trainer.train());
  const longest = 1000 * Math.max(...result.log.map(({ seconds }) => seconds));
  const latest = Math.max(...late);
  t.log(`steps of at most ${longest.toFixed(0)} ms, a timer at most ${latest.toFixed(0)} ms late`);
  t.true(late.length >= 8, `${late.length} ticks`);
  // What the system itself keeps from a process on a busy machine.
  t.true(latest <= longest + 25, `${latest} ms late, the longest step took ${longest} ms`);
});

test.serial('in a worker thread a run leaves the event loop free', async (t) => {
  const { trainInWorker } = await built();
  const job: TrainingJob = {
    model: bundled,
    modelOptions: { head: 'SequenceClassification' },
    peft: { method: 'lora' },
    trainFile: recordsFile(t, 48, 40, 1000),
    args: { maxSteps: 4, batchSize: 48 },
    backend: { backend: 'native', threads: 1 },
  };
  const { result, late } = await lateness(() => trainInWorker(job));
  const longest = 1000 * Math.max(...result.log.map(({ seconds }) => seconds));
  const latest = Math.max(...late);
  const usual = late.sort((a, b) => a - b)[Math.floor(0.9 * late.length)] as number;
  t.log(
    `steps of at most ${longest.toFixed(0)} ms; late by ${latest.toFixed(1)} ms at most, ${usual.toFixed(1)} in 9 of 10`,
  );
  t.true(latest < longest / 2, `${latest} ms late, the longest step took ${longest} ms`);
  t.true(usual < 10);
});

test.serial('several trainers in worker threads give what each gives alone', async (t) => {
  const { trainInWorker } = await built();
  const trainFile = recordsFile(t, 40, 12, 50);
  const jobs = [1, 2, 3].map((seed): TrainingJob => ({
    model: fixture,
    modelOptions: { dropout: 0.1, seed },
    peft: { method: 'lora', r: 2, seed },
    trainFile,
    evalFile: trainFile,
    density: { alpha: 0.1 },
    args: { maxSteps: 25, batchSize: 4, seed, evalSteps: 10 },
    backend: { backend: 'native', threads: seed },
    out: join(folderOf(t), 'out'),
  }));
  const steps: number[] = [];
  const together = await Promise.all(
    jobs.map((job) => trainInWorker(job, { onStep: ({ step }) => void steps.push(step) })),
  );
  t.is(steps.length, 75);
  for (const [index, job] of jobs.entries()) {
    const out = join(folderOf(t), 'out');
    const alone = await trainInWorker({ ...job, out, backend: { backend: 'native', threads: 1 } });
    t.deepEqual(withoutTime(together[index]?.log ?? []), withoutTime(alone.log));
    t.is(together[index]?.evaluation?.loss, alone.evaluation?.loss);
    const adapter = (folder: string): Buffer => readFileSync(join(folder, 'adapter_model.safetensors'));
    t.deepEqual(adapter(job.out as string), adapter(out));
  }
});

test.serial('a worker stops by its signal, goes on, and says what is wrong', async (t) => {
  const { trainInWorker, DeftuneError } = await built();
  const directory = join(folderOf(t), 'checkpoints');
  const job: TrainingJob = {
    model: fixture,
    peft: { method: 'lora', r: 2 },
    trainFile: recordsFile(t, 40, 12, 50),
    args: { maxSteps: 300, batchSize: 4 },
    backend: { threads: 1 },
  };
  const whole = await trainInWorker(job);
  const abortion = new AbortController();
  const saving = { ...job, checkpoints: { directory }, resume: true };
  const first = await trainInWorker(saving, {
    signal: abortion.signal,
    onStep: ({ step }) => {
      if (step === 5) abortion.abort();
    },
  });
  t.is(first.ended, 'aborted');
  t.true(first.steps >= 5 && first.steps < 300);
  t.deepEqual(readdirSync(directory), [`checkpoint-${first.steps}`]);
  const second = await trainInWorker(saving);
  t.is(second.resumedAfter, first.steps);
  t.deepEqual(withoutTime([...first.log, ...second.log]), withoutTime(whole.log));
  await t.throwsAsync(trainInWorker({ ...job, trainFile: 'none.jsonl' }), {
    instanceOf: DeftuneError,
    message: /none\.jsonl: .*no such file/,
  });
  await t.throwsAsync(trainInWorker({ ...job, args: { batchSize: 0 } }), { message: /batchSize is 0/ });
});

test.serial('thread counts 1 to 8 and five seeds: each run again is the same to the last digit', async (t) => {
  const path = recordsFile(t, 40, 30, 50);
  const run = async (threads: number, seed: number): Promise<StepLog[]> => {
    const backend = await createBackend({ backend: 'native', threads });
    const base = await AutoModel.fromPretrained(fixture, { backend, dropout: 0.1, seed });
    const model = getPeftModel(base, { method: 'lora', r: 4, loraDropout: 0.1, seed });
    const trainDataset = await loadDataset(path, { model: base });
    const { log } = await new Trainer({ model, trainDataset, args: { maxSteps: 6, batchSize: 16, seed } }).train();
    base.dispose();
    return withoutTime(log);
  };
  for (const seed of [0, 1, 2, 3, 4]) {
    const first = await run(1, seed);
    t.true(first.every(({ loss }) => loss > 0));
    t.deepEqual(await run(1, seed), first);
    for (const threads of seed === 0 ? [2, 3, 4, 5, 6, 7, 8] : [1 + seed]) {
      t.deepEqual(await run(threads, seed), first, `${threads} threads, seed ${seed}`);
    }
  }
});

const MEMORY_STEPS = Number(process.env['DEFTUNE_MEMORY_STEPS'] ?? 2000);
test.serial(`memory after ${MEMORY_STEPS} steps is that after ${MEMORY_STEPS / 10}`, async (t) => {
  const path = recordsFile(t, 64, 8, 50);
  const script = `
    const { AutoModel, createBackend, densityLoss, getPeftModel, loadDataset, Trainer } = await import(${JSON.stringify(dist.href)});
    const backend = await createBackend({ backend: 'native', threads: 1 });
    const base = await AutoModel.fromPretrained(${JSON.stringify(bundled)}, { backend, dropout: 0.1, head: 'SequenceClassification' });
    const model = getPeftModel(base, { method: 'lora', r: 4 });
    const trainDataset = await loadDataset(${JSON.stringify(path)}, { model: base });
    const seen = [];
    const measure = async () => {
      for (let i = 0; i < 4; i++) { gc(); await new Promise((go) => setTimeout(go, 20)); }
      seen.push({ rss: process.memoryUsage.rss(), core: backend.liveBytes() });
    };
    await new Trainer({
      model, trainDataset, args: { maxSteps: ${MEMORY_STEPS}, batchSize: 1 },
      auxiliaryLosses: [densityLoss({}, 'relu')],
      onStep: ({ step }) => (step === ${MEMORY_STEPS / 10} || step === ${MEMORY_STEPS} ? measure() : undefined),
    }).train();
    console.log(JSON.stringify(seen));`;
  // What node and the C library keep for themselves, for compiling in threads and for young objects, would be most of what is seen.
  const flags = ['--expose-gc', '--single-threaded', '--max-semi-space-size=1', '--input-type=module'];
  const env = { ...process.env, MALLOC_ARENA_MAX: '1' };
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '-e', script], { env });
  const [early, late] = JSON.parse(stdout) as { rss: number; core: number }[];
  if (!early || !late) return t.fail(stdout);
  t.log(
    `resident ${(early.rss / 1e6).toFixed(1)} MB, then ${(late.rss / 1e6).toFixed(1)} MB; tensors ${early.core} bytes, then ${late.core}`,
  );
  t.is(late.core, early.core);
  t.true(late.rss <= 1.02 * early.rss, `${early.rss} bytes, then ${late.rss}`);
});
