// deftune reproduce: grids, resumption, what is absent.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { bundled } from './fixtures.js';
import { runDeftune, runJson, temporaryFolder } from './run-deftune.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const sentences = readFileSync(bundled.train, 'utf8').split('\n').slice(0, 17);

/** A folder with data, a grid of one model and two modules, and the arguments of a short run of it. */
function small(t: ExecutionContext, modules: Record<string, object> = {}) {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'data', 'SST-2'), { recursive: true });
  for (const name of ['train', 'dev'])
    writeFileSync(join(folder, 'data', 'SST-2', `${name}.tsv`), sentences.join('\n'));
  const grid = join(folder, 'grid.json');
  writeFileSync(
    grid,
    JSON.stringify({
      title: 'A small grid',
      seeds: [1],
      settings: { batchSize: 8 },
      models: { mini: { title: 'Mini', folders: ['bert-mini-relu'], settings: { density: 'tanh' } } },
      modules: { head: { title: 'Head', settings: { method: 'head' } }, ...modules },
      rows: [{ models: ['mini'], datasets: ['sst2'], modules: ['lora', 'head', ...Object.keys(modules)] }],
      figures: ['by-dataset', 'layers', 'activations'],
    }),
  );
  const out = join(folder, 'out');
  const places = ['--models', fileURLToPath(new URL('../../assets/', import.meta.url)), '--data', join(folder, 'data')];
  return { folder, grid, out, args: ['reproduce', grid, ...places, '--out', out, '--max-steps', 2] };
}

const RUNS = ['mini.sst2.head.DEFT.1', 'mini.sst2.head.PEFT.1', 'mini.sst2.lora.DEFT.1', 'mini.sst2.lora.PEFT.1'].map(
  (name) => `${name}.json`,
);

interface Outcome {
  groups: { module: string; runs: { variant: string; metric: number; density: number }[] }[];
  skipped: { what: string; reason: string }[];
  failed: { what: string; reason: string }[];
  runsDone: number;
}

test('a grid file: runs, table and report; what is finished is not run again', async (t) => {
  const { args, out } = small(t);
  const { stdout, stderr } = await runDeftune(t, args);
  t.regex(stdout, /^A small grid\n/);
  t.regex(
    stdout,
    /│ Mini +│ SST-2 +│ LoRA +│ accuracy +│ +\d+\.\d\d │ +\d+\.\d\d │ +\d+\.\d\d │ +\d+\.\d\d │ +-?\d+\.\d\d │ +– │ +1, 1 │/,
  );
  t.regex(stdout, /\n4 of 4 runs done\nreport: .*report\.html\n$/);
  t.regex(stderr, /^1\/4 Mini SST-2 LoRA PEFT seed 1 1\/2/m);
  t.regex(stderr, /^4\/4 Mini SST-2 Head DEFT seed 1 \(.* left\) 2\/2/m);
  const html = readFileSync(join(out, 'report.html'), 'utf8');
  for (const words of ['Density by data set', 'Density by layer', 'Activations before and after'])
    t.true(html.includes(words));
  t.notRegex(html, /<script|<link|<img|@import|url\(/i);
  t.is(readFileSync(join(out, 'runs.csv'), 'utf8').split('\n').length, 6);
  t.true(existsSync(join(out, 'density-by-dataset-1.svg')));

  const runs = join(out, 'runs');
  t.deepEqual(readdirSync(runs).sort(), RUNS);
  const before = new Map(RUNS.map((name) => [name, readFileSync(join(runs, name), 'utf8')]));
  const missing = 'mini.sst2.lora.DEFT.1.json';
  rmSync(join(runs, missing));
  const again = await runDeftune(t, args);
  t.deepEqual([...new Set(again.stderr.match(/^\d\/4 .* seed 1/gm))], ['4/4 Mini SST-2 LoRA DEFT seed 1']);
  const result = (name: string, text: string): unknown => ({
    ...(JSON.parse(text) as { result: object }).result,
    ...{ name, seconds: 0, log: [] },
  });
  for (const [name, text] of before) {
    const now = readFileSync(join(runs, name), 'utf8');
    if (name === missing) t.deepEqual(result(name, now), result(name, text));
    else t.is(now, text);
  }
});

test('killed between runs, it goes on with the next', async (t) => {
  const { args, out } = small(t);
  const runs = join(out, 'runs');
  const child = spawn(process.execPath, [program, ...args.map(String)], { stdio: 'ignore' });
  const ended = new Promise((done) => child.once('exit', done));
  const finished = (): string[] => (existsSync(runs) ? readdirSync(runs).filter((name) => name.endsWith('.json')) : []);
  while (finished().length === 0 && child.exitCode === null) await new Promise((done) => setTimeout(done, 5));
  child.kill('SIGKILL');
  await ended;
  const first = finished();
  t.true(first.length >= 1);
  const times = first.map((name) => statSync(join(runs, name)).mtimeMs);
  for (const name of first) t.is(typeof JSON.parse(readFileSync(join(runs, name), 'utf8')), 'object');
  const { stdout } = await runDeftune(t, args);
  t.true(stdout.includes('4 of 4 runs done'));
  t.deepEqual(finished().sort(), RUNS);
  t.deepEqual(
    first.map((name) => statSync(join(runs, name)).mtimeMs),
    times,
  );
});

test('Ctrl-C stops in the run at hand and reports what is done', async (t) => {
  const { args, out } = small(t);
  const child = spawn(process.execPath, [program, ...args.map(String), '--max-steps', '200'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  let isSent = false;
  child.stdout.on('data', (part: Buffer) => {
    stdout += part.toString();
  });
  child.stderr.on('data', (part: Buffer) => {
    stderr += part.toString();
    // Once: a second one ends it at once.
    if (!isSent && stderr.includes('\n2/4 ')) isSent = child.kill('SIGINT');
  });
  t.is(await new Promise((done) => child.once('close', done)), 130);
  t.deepEqual(readdirSync(join(out, 'runs')), ['mini.sst2.lora.PEFT.1.json']);
  t.regex(stdout, /\n1 of 4 runs done\ninterrupted; the same command goes on\nreport: /);
});

test('runs of other settings and damaged files are refused before anything is run', async (t) => {
  const { args, out } = small(t);
  await runDeftune(t, [...args, '--modules', 'head']);
  const other = await runDeftune(t, [...args, '--lr', 0.5], { code: 1 });
  t.regex(
    other.stderr,
    /^error: .*mini\.sst2\.head\.PEFT\.1\.json: its lr is 0\.0003, expected 0\.5 as now; take another --out, or remove it\n$/,
  );
  // Plain runs do not depend on the density loss.
  const alpha = await runDeftune(t, [...args, '--modules', 'head', '--alpha', 2], { code: 1 });
  t.regex(alpha.stderr, /head\.DEFT\.1\.json: its alpha is 1, expected 2 as now/);
  writeFileSync(join(out, 'runs', RUNS[1] as string), '{"settings": {');
  const damaged = await runDeftune(t, args, { code: 1 });
  t.regex(damaged.stderr, /^error: .*head\.PEFT\.1\.json:1:\d+: invalid JSON/);
  writeFileSync(join(out, 'runs', RUNS[1] as string), '{}');
  t.regex((await runDeftune(t, args, { code: 1 })).stderr, /it is not the file of a run/);
});

test('a run that fails is left out with its reason, the others go on', async (t) => {
  const { args } = small(t, { broken: { title: 'Broken', settings: { method: 'lora', loraTarget: ['nothing'] } } });
  const { stdout } = await runDeftune(t, [...args, '--json', '--modules', 'broken,head'], { code: 1 });
  const { groups, failed, runsDone } = JSON.parse(stdout) as Outcome;
  t.is(runsDone, 2);
  t.deepEqual(
    failed.map(({ what }) => what),
    ['Mini SST-2 Broken PEFT seed 1', 'Mini SST-2 Broken DEFT seed 1'],
  );
  t.regex(failed[0]?.reason ?? '', /nothing/);
  t.deepEqual(
    groups.map(({ module, runs }) => [module, runs.length]),
    [
      ['Head', 2],
      ['Broken', 0],
    ],
  );
});

test('absent models and data are skipped with a reason', async (t) => {
  const { folder, args, grid } = small(t);
  const paths = ['--models', fileURLToPath(new URL('../../assets/', import.meta.url)), '--data', folder];
  const out = ['--out', join(folder, 'out')];
  const noData = await runJson(t, ['reproduce', grid, ...paths, ...out]);
  t.deepEqual(noData['skipped'], [{ what: 'SST-2', reason: `no folder sst2 or SST-2 in ${folder}` }]);
  t.is(noData['runsPlanned'], 0);
  mkdirSync(join(folder, 'sst2'));
  const empty = await runDeftune(t, ['reproduce', grid, ...paths, ...out]);
  t.regex(empty.stdout, /\nskipped: SST-2: .*sst2: no file of sst2 found, expected train\.\*/);
  const table = await runJson(t, ['reproduce', 'table2', ...args.slice(2), '--dry-run']);
  const { skipped } = table as unknown as Outcome;
  t.deepEqual(
    skipped.map(({ what }) => what),
    ['RoBERTa-Base', 'RoBERTa-Large', 'GPT-2', 'ViT-Base', 'CIFAR-10', 'ViT-Large'],
  );
});

test('a map says which folder stands for what, and is checked', async (t) => {
  const { folder, args } = small(t);
  cpSync(join(folder, 'data', 'SST-2'), join(folder, 'other'), { recursive: true });
  const map = join(folder, 'map.json');
  const written = (content: unknown): string => {
    writeFileSync(map, typeof content === 'string' ? content : JSON.stringify(content));
    return map;
  };
  const run = ['reproduce', 'table2', ...args.slice(2), '--dry-run', '--map'];
  const models = { gpt2: bundled.model };
  const good = await runJson(t, [...run, written({ models, data: { sst2: join(folder, 'other') } })]);
  const cells = good['cells'] as { model: string; settings: Record<string, unknown> }[];
  t.is(cells.length, 4);
  t.like(cells[1], {
    model: 'gpt2',
    dataset: 'sst2',
    module: 'lora',
    runs: 6,
    done: 0,
    // The authors' code: glue.sh and lora.py.
    settings: {
      ...{ lr: 3e-4, batchSize: 64, epochs: 10, warmup: 0.06, weightDecay: 0.01, alpha: 1, eps: 1e-7, maxGradNorm: 0 },
      ...{ density: 'l0', densityForm: 'element', method: 'lora', loraR: 8, loraAlpha: 16, loraDropout: 0.1 },
      ...{ model: bundled.model, data: join(folder, 'other'), task: 'sst2', maxSteps: 2 },
    },
  });
  for (const [content, message] of [
    [{ models: { gpt3: 'x' } }, /map\.json: models has "gpt3", expected some of roberta-base, roberta-large, gpt2/],
    [{ data: { sst2: 5 } }, /map\.json: data\.sst2 is 5, invalid input: expected string/],
    [{ model: {} }, /map\.json: unrecognized key/],
    ['{"models": ', /map\.json:1:\d+: invalid JSON/],
  ] as const) {
    const { stderr } = await runDeftune(t, [...run, written(content)], { code: 1 });
    t.regex(stderr, message);
    t.is(stderr.trimEnd().split('\n').length, 1);
  }
  t.regex((await runDeftune(t, [...run, join(folder, 'none.json')], { code: 1 })).stderr, /none\.json: cannot read/);
});

test('names that do not exist are refused in one line', async (t) => {
  const { args, grid } = small(t);
  for (const [more, message] of [
    [['--modules', 'lora,nope'], /--modules has "nope", expected some of lora, head/],
    [['--seeds', '1,1'], /--seeds has 1 twice/],
  ] as const) {
    t.regex((await runDeftune(t, [...args, ...more], { code: 1 })).stderr, message);
  }
  const unknown = await runDeftune(t, ['reproduce', 'table9'], { code: 1 });
  t.is(unknown.stderr, 'error: grid is "table9", expected figure1, figure2, glue, table1, table2, or a .json file\n');
  const content = JSON.parse(readFileSync(grid, 'utf8')) as Record<string, unknown>;
  for (const [change, message] of [
    [{ rows: [{ models: ['mini'], datasets: ['mars'] }] }, /datasets has no "mars", expected one of cola/],
    [{ settings: { learningRat: 1 } }, /"learningRat" is no option of compare, expected one of/],
    [{ settings: { lr: 'much' } }, /grid\.json: lr is "much", invalid input: expected number/],
    [{ rows: [] }, /grid\.json: rows is /],
    [{ figures: ['pie'] }, /grid\.json: figures\.0 is "pie"/],
  ] as const) {
    writeFileSync(grid, JSON.stringify({ ...content, ...change }));
    t.regex((await runDeftune(t, args, { code: 1 })).stderr, message);
  }
});
