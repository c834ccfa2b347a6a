// npm run bench: the product kernels against the machine's limits, PyTorch and our own dense product. The Rust side is
// crates/core/benches/kernels/main.rs, the peer peers/torch-kernels.py; both answer one work a line, and are asked in turn.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { benchOptions, numberFrom } from './options.mjs';
import { benchFolder, findPython, root } from './peers.mjs';
import { Report } from './report.mjs';
import { interleaved, Worker } from './worker.mjs';

const options = benchOptions('npm run bench --', 'Times the kernels.', (command) =>
  command
    .option('--only <groups>', 'matmul, transposed, sparse, mlp (by comma)', 'matmul,transposed,sparse,mlp')
    .option('--rounds <n>', 'times each work is asked for; the best counts', numberFrom(1), 5)
    .option('--threads <n>', 'threads of the two-thread figures', numberFrom(1), 2)
    .option('--precision <name>', 'of the weights: f32 or bf16', 'f32')
    .option('--no-peer', 'leave PyTorch out'),
);
const { rounds, threads, precision } = options;
const wants = (group) => options.only.split(',').includes(group);

/** Builds the Rust side; returns the executable. */
function buildKernels() {
  const build = spawnSync(
    'cargo',
    ['bench', '-p', 'deftune-core', '--bench', 'kernels', '--no-run', '--message-format', 'json'],
    { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const found = (build.stdout ?? '')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .find(({ target, executable }) => target?.name === 'kernels' && executable);
  if (build.status !== 0 || !found) {
    console.error('the kernels could not be built (see above)');
    process.exit(1);
  }
  return found.executable;
}

const ours = new Worker('deftune', buildKernels(), []);
const python = options.peer ? findPython(['torch']) : undefined;
const peer = python ? new Worker('torch', python, [join(benchFolder, 'peers', 'torch-kernels.py')]) : undefined;
const machine = await ours.ask('describe');
const peerName = peer ? await peer.ask('describe') : 'peer';
console.log(`machine: ${machine}\npeer: ${peer ? peerName : 'absent'}`);

const report = new Report();
const peaks = async (count) => ours.number(`peak ${count}`);
const before = [await peaks(1), await peaks(threads)];
console.log(`FMA peak: ${before.map((value) => value.toFixed(1)).join(' and ')} GFLOP/s on 1 and ${threads} threads`);
for (const [name, bytes] of [
  ['L1', 16 << 10],
  ['L2', 256 << 10],
  ['L3', 4 << 20],
  ['memory', 128 << 20],
]) {
  const rates = [await ours.number(`bandwidth 1 ${bytes}`), await ours.number(`bandwidth ${threads} ${bytes}`)];
  console.log(`reading ${name}: ${rates.map((rate) => rate.toFixed(0)).join(' and ')} GB/s`);
}

/** One product: ours on one thread against the peak, ours on `threads` against the peer and against one thread. */
async function matmul(m, k, n) {
  const flops = 2 * m * k * n;
  const rate = (seconds) => (seconds === undefined ? null : flops / seconds / 1e9);
  const line = (count) => `matmul ${m} ${k} ${n} ${count} ${precision}`;
  // The probe is asked in the same rounds: the core's speed drifts.
  let peak = 0;
  let peakMany = 0;
  const best = [Infinity, Infinity, peer ? Infinity : undefined];
  for (let round = 0; round < rounds; round++) {
    peak = Math.max(peak, await peaks(1));
    peakMany = Math.max(peakMany, await peaks(threads));
    const seconds = await interleaved(
      [
        [ours, line(1)],
        [ours, line(threads)],
        [peer, line(threads)],
      ],
      1,
    );
    seconds.forEach((value, index) => value !== undefined && (best[index] = Math.min(best[index], value)));
  }
  const work = `matmul ${m}x${k}x${n}`;
  report.add({
    work: `${work}, 1 thread`,
    precision,
    unit: 'GFLOP/s',
    ours: rate(best[0]),
    ofLimit: rate(best[0]) / peak,
  });
  report.add({
    work: `${work}, ${threads} threads`,
    precision,
    unit: 'GFLOP/s',
    ours: rate(best[1]),
    peer: rate(best[2]),
    ratio: best[2] === undefined ? null : best[2] / best[1],
    ofLimit: rate(best[1]) / peakMany,
  });
  report.add({
    work: `${work}, ${threads} threads against 1`,
    precision,
    unit: 'GFLOP/s',
    ours: rate(best[1]),
    peer: rate(best[0]),
    ratio: best[0] / best[1],
    ofLimit: peakMany / peak / threads,
  });
  await ours.ask('forget');
  await peer?.ask('forget');
}

if (wants('matmul')) {
  for (const [k, n] of [
    [768, 768],
    [768, 3072],
    [3072, 768],
  ]) {
    for (const m of [1, 8, 32, 128, 512]) await matmul(m, k, n);
    report.print(`M x ${k} x ${n} (rows x inputs x outputs)`, peerName);
  }
}

if (wants('transposed')) {
  for (const [p, q] of [
    [768, 768],
    [3072, 768],
    [8, 768],
    [768, 8],
  ]) {
    const flops = 2 * 800 * p * q;
    const [seconds, theirs] = await interleaved(
      [
        [ours, `at-b ${p} ${q} 800 ${threads}`],
        [peer, `at-b ${p} ${q} 800 ${threads}`],
      ],
      rounds,
    );
    report.add({
      work: `transposed ${p}x${q} over 800 rows, ${threads} threads`,
      unit: 'GFLOP/s',
      ours: flops / seconds / 1e9,
      peer: theirs === undefined ? null : flops / theirs / 1e9,
      ratio: theirs === undefined ? null : theirs / seconds,
      ofLimit: flops / seconds / 1e9 / before[1],
    });
    await ours.ask('forget');
    await peer?.ask('forget');
  }
  report.print('weight gradients', peerName);
}

if (wants('sparse')) {
  for (const count of new Set([1, threads])) {
    const down = [`dense-down ${count} ${precision}`, precision];
    const up = [`dense-up ${count} ${precision}`, precision];
    for (const [name, [dense, sparseIn]] of [
      ['zero-skip', down],
      ['chosen', down],
      ['sampled', up],
      ['chosen-sampled', up],
      // Of two matrices that change: neither is ever in bf16.
      ['sparse-at-b', [`at-b 3072 768 800 ${count}`, 'f32']],
    ]) {
      const percents = name.startsWith('chosen') ? [20, 30, 36, 40, 50, 100] : [1, 3, 5, 10, 20, 30, 36, 40, 50];
      const points = [];
      for (const percent of percents) {
        const [sparse, full] = await interleaved(
          [
            [ours, `${name} ${percent} ${count} ${precision}`],
            [ours, dense],
          ],
          rounds,
        );
        points.push([percent, full / sparse]);
        const flops = (2 * 800 * 768 * 3072 * percent) / 100;
        report.add({
          work: `${name} at ${percent} %, ${count} thread(s)`,
          precision: sparseIn,
          unit: 'ms',
          ours: sparse * 1e3,
          peer: full * 1e3,
          ratio: full / sparse,
          ofLimit: flops / sparse / 1e9 / (count === 1 ? before[0] : before[1]),
        });
      }
      report.print(`${name}, 800 tokens, 3072 neurons, 768 wide, random masks, against our own dense product`, 'dense');
      const crossed = points.findIndex(([, ratio]) => ratio < 1);
      if (!name.startsWith('chosen')) {
        const [low, high] = [points[crossed - 1], points[crossed]];
        const at = low && high ? low[0] + ((high[0] - low[0]) * (low[1] - 1)) / (low[1] - high[1]) : undefined;
        console.log(`break-even at ${at === undefined ? 'no measured density' : `${at.toFixed(0)} %`}`);
      }
      await ours.ask('forget');
    }
  }
}

if (wants('mlp')) {
  for (const percent of [1, 3, 5, 10, 20, 50]) {
    const [sparse, full, theirs] = await interleaved(
      [
        [ours, `mlp ${percent} ${threads} ${precision}`],
        [ours, `mlp 50 ${threads} ${precision}`],
        [peer, `mlp ${threads} ${precision}`],
      ],
      rounds,
    );
    report.add({
      work: `MLP at ${percent} %, against our dense`,
      precision,
      unit: 'ms',
      ours: sparse * 1e3,
      peer: full * 1e3,
      ratio: full / sparse,
    });
    report.add({
      work: `MLP at ${percent} %, against the peer`,
      precision,
      unit: 'ms',
      ours: sparse * 1e3,
      peer: theirs === undefined ? null : theirs * 1e3,
      ratio: theirs === undefined ? null : theirs / sparse,
    });
  }
  report.print(`frozen MLP (768, 3072, 768), 800 tokens, forward and backward, ${threads} threads`, peerName);
}

const after = [await peaks(1), await peaks(threads)];
console.log(`\nFMA peak after: ${after.map((value) => value.toFixed(1)).join(' and ')} GFLOP/s (${machine})`);
report.write(options.json);
ours.close();
peer?.close();
