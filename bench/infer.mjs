// npm run bench:infer: one sentence through a BERT-base-shaped classifier, against onnxruntime-node. Both sides are processes of their own that are
// asked in turn; the weights are random, the sums the same.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { benchOptions, numberFrom } from './options.mjs';
import { benchFolder, findPackage, findPython, peersFolder } from './peers.mjs';
import { Report } from './report.mjs';
import { interleaved, Worker } from './worker.mjs';

const options = benchOptions('npm run bench:infer --', 'Times the forward pass of one sentence.', (command) =>
  command
    .option('--precision <name>', 'of our frozen weights: f32 or bf16', 'f32')
    .option('--rounds <n>', 'times each is asked for; the best counts', numberFrom(1), 7)
    .option('--no-peer', 'leave onnxruntime-node out'),
);
const { precision, rounds } = options;
const LENGTHS = [8, 25, 128];

/** The model as ONNX, made once. */
function onnxModel() {
  const file = join(peersFolder, 'bert-base.onnx');
  if (existsSync(file)) return file;
  const python = findPython(['torch', 'transformers', 'onnx']);
  if (!python) return undefined;
  mkdirSync(peersFolder, { recursive: true });
  const made = spawnSync(python, [join(benchFolder, 'peers', 'export-onnx.py'), file], { stdio: 'inherit' });
  return made.status === 0 ? file : undefined;
}

const model = options.peer && findPackage('onnxruntime-node') ? onnxModel() : undefined;
const peer =
  model && new Worker('onnxruntime', process.execPath, [join(benchFolder, 'peers', 'onnx-infer.mjs'), model]);
const ours = new Worker('deftune', process.execPath, [join(benchFolder, 'ours', 'infer.mjs'), precision]);
const machine = `${os.cpus()[0]?.model}, ${os.cpus().length} cores; ${await ours.ask('describe')}`;
const peerName = peer ? await peer.ask('describe') : 'peer';
console.log(`machine: ${machine}\npeer: ${peer ? peerName : 'absent'}`);

const report = new Report();
for (const length of LENGTHS) {
  const line = `forward ${length}`;
  const [seconds, theirs] = await interleaved(
    [
      [ours, line],
      [peer, line],
    ],
    rounds,
  );
  report.add({
    work: `BERT-base forward, 1 x ${length} tokens`,
    precision,
    unit: 'ms',
    ours: seconds * 1e3,
    peer: theirs === undefined ? null : theirs * 1e3,
    ratio: theirs === undefined ? null : theirs / seconds,
  });
}
report.print('batch 1', peerName);
report.write(options.json);
ours.close();
peer?.close();
