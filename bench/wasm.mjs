// npm run bench:wasm: the WASM kernels in a headless Chromium on one thread, against onnxruntime-web, the WASM backend of TensorFlow.js, and the
// engine's own limit; and on several threads against one. All run in one page and are asked in turn; the page's side is page/.
import os from 'node:os';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findChromium, openPage } from './browser.mjs';
import { benchOptions, numberFrom } from './options.mjs';
import { benchFolder, findPackage, root } from './peers.mjs';
import { Report } from './report.mjs';
import { PEAK_FLOPS, peakModule } from './wasm-peak.mjs';
import { interleaved } from './worker.mjs';

const options = benchOptions('npm run bench:wasm --', 'Times the WASM kernels in Chromium.', (command) =>
  command
    .option('--only <groups>', 'matmul, sparse, threads (by comma)', 'matmul,sparse,threads')
    .option('--threads <n>', 'threads of the last group', numberFrom(2), 2)
    .option('--builds <names>', 'simd128, relaxed (by comma)', 'simd128,relaxed')
    .option('--rows <numbers>', 'rows of the products (by comma)', '8,32,128,512')
    .option('--rounds <n>', 'times each work is asked for; the best counts', numberFrom(1), 3)
    .option('--no-peer', 'leave the peers out'),
);
const { rounds } = options;
const wants = (group) => options.only.split(',').includes(group);
const builds = options.builds.split(',');
const SHAPES = [
  [768, 768],
  [768, 3072],
  [3072, 768],
];

const chromium = findChromium();
const unbuilt = builds.find((build) => !existsSync(join(root, `wasm/${build}/deftune_wasm_bg.wasm`)));
if (!chromium || unbuilt) {
  console.error(
    chromium
      ? `wasm/${unbuilt} is not built: npm run build:wasm`
      : 'there is no Chromium: DEFTUNE_CHROMIUM names one (Debian: apt-get install chromium)',
  );
  process.exit(1);
}
const ort = options.peer ? findPackage('onnxruntime-web') : undefined;
const tfjs =
  options.peer && findPackage('@tensorflow/tfjs-core') ? findPackage('@tensorflow/tfjs-backend-wasm') : undefined;
const { page, version, close } = await openPage(
  chromium,
  {
    page: join(benchFolder, 'page'),
    wasm: join(root, 'wasm'),
    dist: join(root, 'dist'),
    ...(ort && { ort: join(ort, 'dist') }),
    ...(tfjs && { 'tfjs-core': join(tfjs, '../tfjs-core/dist'), 'tfjs-wasm': join(tfjs, 'dist') }),
  },
  Object.fromEntries(builds.map((build) => [`/${build}-peak.wasm`, peakModule(build)])),
);

/** A contestant in the page, asked as a worker is. */
async function contestant(file, argument) {
  const key = `${file} ${argument}`;
  const name = await page.evaluate(
    async ([key, file, argument]) => {
      const { open } = await import(`/page/${file}.js`);
      globalThis.contestants ??= {};
      return (globalThis.contestants[key] = await open(argument)).name;
    },
    [key, file, argument],
  );
  const number = (line) => page.evaluate(([key, line]) => globalThis.contestants[key].ask(line), [key, line]);
  const first = () => page.evaluate((key) => globalThis.contestants[key].first(), key);
  return { name, number, first };
}

const ours = [];
for (const build of builds) {
  ours.push({ backend: await contestant('deftune', build), peak: await contestant('peak', build) });
}
const peers = [];
if (ort) peers.push(await contestant('onnxruntime-web'));
if (tfjs) peers.push(await contestant('tfjs-wasm'));
const machine = `${os.cpus()[0]?.model}, ${os.cpus().length} cores; Chromium ${version}, one thread`;
console.log(`machine: ${machine}\npeers: ${peers.map(({ name }) => name).join(', ') || 'absent'}`);

const report = new Report();
const peakOf = (seconds) => PEAK_FLOPS / seconds / 1e9;

async function matmul(m, k, n) {
  const line = `matmul ${m} ${k} ${n}`;
  const asked = [
    ...ours.map(({ backend }) => [backend, line]),
    ...peers.map((peer) => [peer, line]),
    ...ours.map(({ peak }) => [peak, 'peak']),
  ];
  const seconds = await interleaved(asked, rounds);
  const [expected, ...others] = await Promise.all(
    asked.slice(0, ours.length + peers.length).map(([each]) => each.first()),
  );
  for (const [index, value] of others.entries()) {
    if (Math.abs(value - expected) < 1e-3) continue;
    throw new Error(`${line}: ${asked[index + 1][0].name} computes ${value}, ${asked[0][0].name} ${expected}`);
  }
  const rate = (time) => (2 * m * k * n) / time / 1e9;
  for (const [index, { backend }] of ours.entries()) {
    const common = { unit: 'GFLOP/s', ours: rate(seconds[index]) };
    const ofLimit = common.ours / peakOf(seconds[ours.length + peers.length + index]);
    if (peers.length === 0) report.add({ ...common, work: `${line}, ${backend.name}`, ofLimit });
    for (const [at, { name }] of peers.entries()) {
      const peer = rate(seconds[ours.length + at]);
      report.add({ ...common, work: `${line}, ${backend.name}, ${name}`, peer, ratio: common.ours / peer, ofLimit });
    }
  }
}

if (wants('matmul')) {
  for (const [k, n] of SHAPES) {
    for (const m of options.rows.split(',')) await matmul(Number(m), k, n);
    report.print(`M x ${k} x ${n} (rows x inputs x outputs)`);
  }
}

if (wants('threads')) {
  const [one, several] = [await contestant('deftune-threads', 1), await contestant('deftune-threads', options.threads)];
  const works = SHAPES.flatMap(([k, n]) => options.rows.split(',').map((m) => `matmul ${m} ${k} ${n}`));
  for (const line of [...works, 'sparse 512 3072 768 5', 'sparse 512 3072 768 20']) {
    const [together, alone] = await interleaved(
      [
        [several, line],
        [one, line],
      ],
      rounds,
    );
    report.add({ work: line, unit: 'ms', ours: together * 1e3, peer: alone * 1e3, ratio: alone / together });
  }
  report.print(`${several.name} against ${one.name}`);
}

if (wants('sparse')) {
  for (const percent of [1, 3, 5, 10, 20]) {
    for (const { backend, peak } of ours) {
      const [sparse, dense, theirs, limit] = await interleaved(
        [
          [backend, `sparse 512 3072 768 ${percent}`],
          [backend, 'matmul 512 3072 768'],
          [peers[0], 'matmul 512 3072 768'],
          [peak, 'peak'],
        ],
        rounds,
      );
      const flops = (2 * 512 * 3072 * 768 * percent) / 100;
      const common = { unit: 'ms', ours: sparse * 1e3, ofLimit: flops / sparse / 1e9 / peakOf(limit) };
      const against = (name, time) =>
        report.add({
          ...common,
          work: `zero-skip at ${percent} %, ${backend.name}, ${name}`,
          peer: time * 1e3,
          ratio: time / sparse,
        });
      against('our dense product', dense);
      if (theirs !== undefined) against(peers[0].name, theirs);
    }
  }
  report.print('o · W, 512 tokens, 3072 neurons, 768 wide, random masks');
}
report.write(options.json);
await close();
