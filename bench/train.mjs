// npm run bench:train: one optimizer step of a model of random weights with LoRA, against PyTorch, transformers and peft. Both sides are
// processes of their own that take steps in turn; their peak memory is compared at the end.
import os from 'node:os';
import { join } from 'node:path';
import { Option } from 'commander';
import { benchOptions, numberFrom } from './options.mjs';
import { benchFolder, findPython } from './peers.mjs';
import { printTable, Report } from './report.mjs';
import { steps as models } from './steps.mjs';
import { interleaved, Worker } from './worker.mjs';

const options = benchOptions('npm run bench:train --', 'Times a training step.', (command) =>
  command
    .addOption(new Option('--model <name>', 'whose shape').choices(Object.keys(models)).default('bert'))
    .option('--precision <name>', 'f32 or bf16', 'f32')
    .option('--density <share>', 'ReLU with this share of non-zeros (0 to 1); without it: GELU, dense', numberFrom(0))
    .option('--batches <n>', 'batches of other lengths, taken in turn: a step is their mean', numberFrom(1), 1)
    .option('--steps <n>', 'steps of each side (of all batches each); the best counts', numberFrom(1), 4)
    .option('--profile', 'print where one of our steps spends its time, by operation')
    .option('--no-peer', 'leave PyTorch out'),
);
const { model, batches, precision, density, steps } = options;
const activation = density === undefined ? 'gelu' : 'relu';
const { name, gflops, peer: theirWork } = models[model](batches);
const threads = os.cpus().length;

const python = options.peer ? findPython(['torch', 'transformers', 'peft']) : undefined;
const peer =
  python &&
  new Worker('torch', python, [
    join(benchFolder, 'peers', 'torch-train.py'),
    activation,
    precision,
    JSON.stringify(theirWork),
    String(threads),
  ]);
const ours = new Worker('deftune', process.execPath, [
  join(benchFolder, 'ours', 'train.mjs'),
  model,
  String(batches),
  activation,
  density === undefined ? '' : String(density),
  precision,
  options.profile ? 'profile' : '',
]);
const machine = `${os.cpus()[0]?.model}, ${threads} cores; ${await ours.ask('describe')}`;
const peerName = peer ? await peer.ask('describe') : 'peer';
console.log(`machine: ${machine}\npeer: ${peer ? peerName : 'absent'}`);

// The first step packs weights (ours) and allocates (both).
await interleaved(
  [
    [ours, 'step'],
    [peer, 'step'],
  ],
  1,
);
const [seconds, theirs] = await interleaved(
  [
    [ours, 'step'],
    [peer, 'step'],
  ],
  steps,
);
const measured = await ours.number('density');
const work = `${name}, ${density === undefined && model === 'bert' ? 'GELU' : `ReLU at ${(100 * measured).toFixed(1)} %`}`;
const report = new Report();
report.add({
  work: `${work}: step`,
  precision,
  unit: 's',
  ours: seconds,
  peer: theirs ?? null,
  ratio: theirs === undefined ? null : theirs / seconds,
});
report.add({
  work: `${work}: dense arithmetic of the linear layers`,
  precision,
  unit: 'GFLOP/s',
  ours: gflops / seconds,
});
const [memory, theirMemory] = [await ours.number('memory'), await peer?.number('memory')];
report.add({
  work: `${work}: peak memory`,
  precision,
  unit: 'MB',
  ours: memory / 1e6,
  peer: theirMemory === undefined ? null : theirMemory / 1e6,
  ratio: theirMemory === undefined ? null : theirMemory / memory,
});
report.print(`training step, ${machine}`, peerName);
report.write(options.json);
if (options.profile) {
  const calls = JSON.parse(await ours.ask('profile'));
  const total = calls.reduce((sum, [, ms]) => sum + ms, 0);
  const rows = calls.map(([operation, ms, count]) => [
    operation,
    ms.toFixed(1),
    `${((100 * ms) / total).toFixed(1)} %`,
    count,
  ]);
  printTable(
    `${batches === 1 ? 'our step' : `${batches} of our steps`} by operation, ${total.toFixed(0)} ms in all`,
    ['operation'],
    ['ms', 'share', 'calls'],
    rows,
  );
}
ours.close();
peer?.close();
