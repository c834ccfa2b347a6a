import { readFileSync } from 'node:fs';
import test from 'ava';
import { runDeftune, runJson } from './run-deftune.js';

const COMMON = ['--backend', '--threads', '--json'];
const RUN = [
  ...['--model', '--adapter', '--method', '--task', '--data', '--train-file', '--valid-file', '--density'],
  ...['--density-form', '--alpha', '--beta', '--eps', '--lr', '--scheduler', '--warmup', '--weight-decay'],
  ...['--max-grad-norm', '--epochs', '--max-steps', '--batch-size', '--no-shuffle', '--dropout'],
  ...['--lora-r', '--lora-alpha', '--lora-dropout', '--lora-target'],
];

/** Options that scripts rely on. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  train: [...RUN, '--out', '--seed', '--log'],
  eval: ['--model', '--adapter', '--task', '--data', '--valid-file'],
  predict: ['--model', '--adapter', '--input', '--output', '--logits'],
  generate: [
    ...['--model', '--adapter', '--input', '--output', '--max-new-tokens', '--num-beams', '--temperature', '--top-k'],
    ...['--top-p', '--seed'],
  ],
  density: ['--model', '--adapter', '--input'],
  calibrate: ['--model', '--adapter', '--input', '--max-error', '--target-density', '--max-metric-drop', '--out'],
  compare: [...RUN, '--seeds', '--out'],
  convert: ['--model', '--adapter', '--out', '--format'],
  info: [],
  demo: ['--out'],
};

test('--help lists the commands, and each command its options', async (t) => {
  const { stdout } = await runDeftune(t, ['--help']);
  for (const command of Object.keys(OPTIONS)) t.regex(stdout, new RegExp(`^  ${command} `, 'm'));
  await Promise.all(
    Object.entries(OPTIONS).map(async ([command, options]) => {
      const help = await runDeftune(t, [command, '--help']);
      for (const option of [...COMMON, ...options]) {
        t.regex(help.stdout, new RegExp(`^  ${option}\\b`, 'm'), `${command} ${option}`);
      }
      t.is(help.stderr, '');
    }),
  );
});

test('--version', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  t.is((await runDeftune(t, ['--version'])).stdout, `${version}\n`);
});

test('info: backends, instruction sets found and used, threads', async (t) => {
  const { stdout } = await runDeftune(t, ['info']);
  t.regex(stdout, /^native: [\w-]+ \(found: .+\), \d+ threads?$/m);
  t.regex(stdout, /^used: native$/m);
  const info = await runJson(t, ['info', '--threads', '1', '--backend', 'native']);
  const [native] = info['backends'] as { backend: string; isa: string; available: string[]; threads: number }[];
  t.like(native, { backend: 'native', threads: 1 });
  t.true(native?.available.includes(native.isa));
  t.true(native?.available.includes('scalar'));
});

test('without a command the help is shown, with exit code 1', async (t) => {
  const { stdout, stderr } = await runDeftune(t, [], { code: 1 });
  t.is(stdout, '');
  t.regex(stderr, /Usage: deftune/);
});
