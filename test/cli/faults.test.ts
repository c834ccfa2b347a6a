// Faults put into runs: kills at random instants, full disks, disks that become read-only. Nothing that was saved is ever lost.
import { spawn, spawnSync, execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { checkpointDirectory, checkpointSteps } from '../../ts/train/checkpoint-directory-node.js';
import { fixture, recordsOf } from './fixtures.js';
import { endWhen, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Kills; DEFTUNE_FAULTS=1000 for a long run. */
const FAULTS = Number(process.env['DEFTUNE_FAULTS'] ?? 10);
const STEPS = 240;

/** A run with everything that has state, saving after each step. */
function argumentsOf(folder: string, name: string, steps = STEPS): string[] {
  const { model, expected } = fixture('relu');
  const records = join(folder, 'records.jsonl');
  if (!existsSync(records)) writeLines(records, recordsOf(expected.training.batches));
  const paths = ['--model', model, '--train-file', records, '--out', join(folder, name)];
  const settings = ['--batch-size', '4', '--max-steps', `${steps}`, '--density', 'tanh', '--lora-dropout', '0.1'];
  return ['train', ...paths, ...settings, '--dropout', '0.1', '--seed', '3', '--warmup', '5', '--threads', '1'];
}

const adapterOf = (out: string): Buffer => readFileSync(join(out, 'adapter_model.safetensors'));

/** Each step's line without its seconds; lines of one step must agree. */
function stepsOf(t: ExecutionContext, log: string): string[] {
  const found = new Map<number, string>();
  for (const line of readLines<{ step: number }>(log)) {
    const text = JSON.stringify({ ...line, seconds: 0 });
    t.is(found.get(line.step) ?? text, text, `step ${line.step}`);
    found.set(line.step, text);
  }
  return [...found].sort(([a], [b]) => a - b).map(([, line]) => line);
}

test.serial(`${FAULTS} kills at random instants lose nothing`, async (t) => {
  const folder = temporaryFolder(t);
  const wholeLog = join(folder, 'whole.jsonl');
  await runDeftune(t, [...argumentsOf(folder, 'whole'), '--log', wholeLog]);
  const whole = stepsOf(t, wholeLog);
  let [kills, lost, runs] = [0, 0, 0];
  while (kills < FAULTS) {
    runs += 1;
    const out = join(folder, `run-${runs}`);
    const log = `${out}.jsonl`;
    const args = [...argumentsOf(folder, `run-${runs}`), '--log', log, '--save-steps', '1', '--save-total-limit', '2'];
    let saved = 0;
    for (let ended = false; !ended;) {
      const before = existsSync(log) ? readFileSync(log).length : 0;
      const isLast = kills >= FAULTS;
      ended = await new Promise<boolean>((done, fail) => {
        const child = spawn(process.execPath, [program, ...args, '--resume'], { stdio: 'ignore' });
        let timer: NodeJS.Timeout | undefined;
        // From the first line that the process writes on, any instant.
        const watch = setInterval(() => {
          if (isLast || !existsSync(log) || readFileSync(log).length <= before) return;
          clearInterval(watch);
          timer = setTimeout(() => child.kill('SIGKILL'), Math.random() * 250);
        }, 2);
        child.on('exit', (code, signal) => {
          clearInterval(watch);
          clearTimeout(timer);
          if (signal === 'SIGKILL') kills += 1;
          else if (code !== 0) fail(new Error(`the run ended with ${code}`));
          done(signal !== 'SIGKILL');
        });
      });
      // What is called a checkpoint is whole: the newest can be read, and is never older than before.
      const notices: string[] = [];
      const newest =
        (await checkpointDirectory(out, { onNotice: (notice) => notices.push(notice) }).latest())?.step ?? 0;
      t.deepEqual(notices, []);
      if (newest < saved || newest !== (checkpointSteps(out).at(-1) ?? 0)) lost += 1;
      saved = newest;
    }
    t.deepEqual(stepsOf(t, log), whole);
    t.deepEqual(adapterOf(out), adapterOf(join(folder, 'whole')));
  }
  t.log(`${kills} kills over ${runs} runs of ${STEPS} steps, a checkpoint each step; lost: ${lost}`);
  t.is(lost, 0);
});

test.serial('SIGTERM while an evaluation is awaited: saved, 143, and on from there', async (t) => {
  const folder = temporaryFolder(t);
  const records = join(folder, 'records.jsonl');
  const args = (name: string): string[] => [
    ...argumentsOf(folder, name, 12),
    ...['--valid-file', join(folder, 'valid.jsonl'), '--eval-steps', '3', '--scheduler', 'reduce_on_plateau'],
    ...['--log', join(folder, `${name}.jsonl`)],
  ];
  args('any');
  const { expected } = fixture('relu');
  writeLines(
    join(folder, 'valid.jsonl'),
    Array.from({ length: 25 }, () => recordsOf(expected.training.batches)).flat(),
  );
  t.true(existsSync(records));
  await runDeftune(t, args('whole'));
  const log = join(folder, 'broken.jsonl');
  // Step 3 is written, and the evaluation after it is running.
  const isTime = (): boolean => existsSync(log) && readFileSync(log, 'utf8').includes('"step":3,');
  const code = await endWhen(args('broken'), isTime, 'SIGTERM');
  t.is(code, 143);
  t.deepEqual(checkpointSteps(join(folder, 'broken')), [3]);
  const { resumedAfter } = await runJson(t, [...args('broken'), '--resume']);
  t.is(resumedAfter, 3);
  const [whole, broken] = ['whole', 'broken'].map((name) =>
    readLines(join(folder, `${name}.jsonl`)).map((line) => JSON.stringify({ ...line, seconds: 0 })),
  );
  t.deepEqual(broken, whole);
  t.deepEqual(adapterOf(join(folder, 'broken')), adapterOf(join(folder, 'whole')));
});

/** Whether this system lets a test mount file systems of its own. */
const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0;
const withMounts = canMount ? test.serial : test.serial.skip;
const note = canMount ? '' : ' [file systems cannot be mounted here]';

/** Runs a shell script with mounts of its own; $DIR is a mounted tmpfs, $KEEP survives. */
function withDisk(
  t: ExecutionContext,
  script: string,
  { size, args, keep }: { size: string; args: (dir: string) => string[]; keep: string },
): Promise<string> {
  const dir = join(keep, 'disk');
  mkdirSync(dir, { recursive: true });
  const quoted = [process.execPath, program, ...args(dir)].map((arg) => `'${arg}'`).join(' ');
  const full = `mount -t tmpfs -o size=${size} tmpfs '${dir}'\nDIR='${dir}' KEEP='${keep}'\nrun() { ${quoted} "$@" 2>&1; echo "code $?"; }\n${script}`;
  return new Promise((done) => {
    execFile('unshare', ['-rm', 'sh', '-c', full], { timeout: 120_000 }, (error, stdout, stderr) => {
      if (error) t.log(stderr);
      done(stdout);
    });
  });
}

withMounts(
  `a full disk ends the run in one line; what was saved is whole, and the run goes on when there is space${note}`,
  async (t) => {
    for (const place of ['beside', 'on it'] as const) {
      const keep = temporaryFolder(t);
      const wholeLog = join(keep, 'whole.jsonl');
      await runDeftune(t, [...argumentsOf(keep, 'whole', 100), '--log', wholeLog]);
      const logName = (dir: string): string => join(place === 'beside' ? keep : dir, 'broken.jsonl');
      const text = await withDisk(
        t,
        `run\nls -A "$DIR/out"\necho resumed\nmount -o remount,size=200m "$DIR"\nrun --resume\ncp -r "$DIR/out" "$KEEP/broken"\ncp "$DIR/broken.jsonl" "$KEEP" 2>/dev/null || true`,
        {
          size: place === 'beside' ? '1500k' : '1100k',
          keep,
          args: (dir) => [
            ...argumentsOf(keep, 'out', 100).map((arg) => (arg === join(keep, 'out') ? join(dir, 'out') : arg)),
            ...['--save-steps', '2', '--log', logName(dir)],
          ],
        },
      );
      const [first = '', second = ''] = text.split('resumed\n');
      t.regex(first, /^error: .*(checkpoint-\d+|broken\.jsonl).*: no space left on the disk\ncode 1\n/m);
      t.regex(first, /^checkpoint-\d+$/m);
      t.notRegex(first, /^\./m, 'no leftovers');
      t.regex(second, /code 0\n/);
      t.deepEqual(stepsOf(t, join(keep, 'broken.jsonl')), stepsOf(t, wholeLog));
      t.deepEqual(adapterOf(join(keep, 'broken')), adapterOf(join(keep, 'whole')));
    }
  },
);

withMounts(
  `a disk that is or becomes read-only ends the run in one line, and nothing saved is lost${note}`,
  async (t) => {
    const keep = temporaryFolder(t);
    const wholeLog = join(keep, 'whole.jsonl');
    await runDeftune(t, [...argumentsOf(keep, 'whole'), '--log', wholeLog]);
    const text = await withDisk(
      t,
      [
        'mount -o remount,ro "$DIR"; run; mount -o remount,rw "$DIR"; echo becomes',
        'run > "$KEEP/output" & while [ ! -d "$DIR/out/checkpoint-20" ]; do sleep 0.01; done',
        'until mount -o remount,ro "$DIR" 2>/dev/null; do :; done; wait; cat "$KEEP/output"; ls -A "$DIR/out"',
        'echo resumed; mount -o remount,rw "$DIR"; run --resume; cp -r "$DIR/out" "$KEEP/broken"; ls -A "$DIR/out"',
      ].join('\n'),
      {
        size: '200m',
        keep,
        args: (dir) => [
          ...argumentsOf(keep, 'out').map((arg) => (arg === join(keep, 'out') ? join(dir, 'out') : arg)),
          ...['--save-steps', '2', '--log', join(keep, 'broken.jsonl')],
        ],
      },
    );
    const [before = '', rest = ''] = text.split('becomes\n');
    const [broken = '', resumed = ''] = rest.split('resumed\n');
    t.regex(before, /^error: .*: cannot write: the file system is read-only\ncode 1\n$/);
    t.regex(broken, /^error: .*checkpoint-\d+: cannot write: the file system is read-only\ncode 1\n/m);
    t.regex(broken, /^checkpoint-20$/m);
    t.regex(resumed, /code 0\n/);
    t.notRegex(resumed, /^\./m, 'no leftovers');
    t.deepEqual(stepsOf(t, join(keep, 'broken.jsonl')), stepsOf(t, wholeLog));
    t.deepEqual(adapterOf(join(keep, 'broken')), adapterOf(join(keep, 'whole')));
  },
);
