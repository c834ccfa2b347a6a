// Commands and options that are unknown, missing, out of range, or at odds with each other; and --debug.
import { join } from 'node:path';
import test from 'ava';
import { runDeftune, temporaryFolder } from '../run-deftune.js';
import { Place, RELU } from './place.js';
import { refused } from './refused.js';

refused('options', [
  ['an unknown command', () => ['trian'], /unknown command 'trian' \(Did you mean train\?\)/],
  ['an unknown option', (p) => [...p.train(), '--learning-rate', '1'], /unknown option '--learning-rate'/],
  ['a misspelled option', (p) => [...p.train(), '--sede', '1'], /unknown option '--sede' \(Did you mean --seed\?\)/],
  ['an argument too many', (p) => [...p.predict(), 'more'], /too many arguments/],
  [
    'no model',
    (p) => ['predict', '--input', 'a.jsonl', '--output', p.output],
    /required option '--model <dir>' not specified/,
  ],
  ['no output', () => ['train', '--model', RELU.model], /required option '--out <dir>' not specified/],
  ['no value', (p) => [...p.train(), '--lr'], /option '--lr <x>' argument missing/],
  [
    'no data',
    (p) => ['train', '--model', RELU.model, '--out', p.out],
    /no data given, expected --train-file FILE, or --task NAME --data DIR/,
  ],
  ['a task without its folder', (p) => p.train('--task', 'sst2'), /--task sst2 needs --data/],
  ['a folder without its task', (p) => p.train('--data', p.folder), /--data needs --task/],
  [
    'an unknown task',
    (p) => p.train('--task', 'sst3', '--data', p.folder),
    /task "sst3" is unknown, expected one of .*sst2/,
  ],
  [
    'a task and a file',
    (p) => [...p.train('--task', 'sst2', '--data', p.folder), '--train-file', 'x.csv'],
    /--task sst2 names its own files/,
  ],
  [
    'no validation data to compare on',
    (p) => [
      'compare',
      '--model',
      RELU.model,
      '--train-file',
      p.lines({ inputIds: [1], label: 0 }, { inputIds: [1], label: 1 }),
      '--out',
      p.out,
    ],
    /a comparison needs validation data: --valid-file/,
  ],
  [
    'seeds that are no numbers',
    (p) => ['compare', ...p.train().slice(1), '--seeds', '0,x'],
    /--seeds.*'x' is not a number/,
  ],
  [
    'a number that is none',
    (p) => p.train('--lr', 'fast'),
    /'--lr <x>' argument 'fast' is invalid\. 'fast' is not a number/,
  ],
  ['a learning rate out of range', (p) => p.train('--lr', '-1'), /learningRate is -1, .*>=0/],
  ['a fraction of a step', (p) => p.train('--max-steps', '1.5'), /'1\.5' is not a whole number/],
  ['no epochs', (p) => p.train('--epochs', '0'), /epochs is 0, .*>0/],
  ['an empty batch', (p) => p.train('--batch-size', '0'), /batchSize is 0, .*>=1/],
  [
    'an empty batch in prediction',
    (p) => [...p.predict(), '--batch-size', '0'],
    /batchSize is 0, expected a whole number of at least 1/,
  ],
  ['a negative warm-up', (p) => p.train('--warmup', '-2'), /warmup is -2, .*>=0/],
  ['a fractional warm-up', (p) => p.train('--warmup', '2.5'), /warmup is 2\.5, expected whole steps, or a share/],
  [
    'an unknown schedule',
    (p) => p.train('--scheduler', 'cosin'),
    /scheduler is "cosin", expected one of linear, constant/,
  ],
  ['an unknown method', (p) => p.train('--method', 'lorra'), /method is "lorra", expected one of lora/],
  ['a rank of 0', (p) => p.train('--lora-r', '0'), /lora: r is 0, .*>=1/],
  ['a rank for a method without one', (p) => p.train('--method', 'head', '--lora-r', '4'), /head: .*"r"/],
  [
    'modules that the model lacks',
    (p) => p.train('--lora-target', 'q_proj'),
    /'q_proj' matches no linear layer of the model; it has attention\.self\.query/,
  ],
  [
    'a pattern that is none',
    (p) => p.train('--lora-target', '(query'),
    /targetModules: "\(query" is not a valid regular expression/,
  ],
  ['dropout of 1', (p) => p.train('--dropout', '1'), /dropout .*is 1, expected .*less than 1/],
  ['an unknown density loss', (p) => p.train('--density', 'l2'), /'--density <loss>' argument 'l2' is invalid/],
  [
    'tanh on elements',
    (p) => p.train('--density', 'tanh', '--density-form', 'element'),
    /form is 'element', expected 'feature-map' with loss 'tanh'/,
  ],
  ['a negative alpha', (p) => p.train('--density', 'tanh', '--alpha', '-0.1'), /alpha is -0\.1, .*>=0/],
  ['a steepness of 0', (p) => p.train('--density', 'tanh', '--beta', '0'), /beta is 0, .*>0/],
  ['a seed out of range', (p) => p.train('--seed', '4294967296'), /seed is 4294967296, .*<=4294967295/],
  [
    'an unknown backend',
    (p) => [...p.predict(), '--backend', 'cuda'],
    /'--backend <name>' argument 'cuda' is invalid\. Allowed choices are native, wasm/,
  ],
  [
    'too many threads',
    (p) => [...p.predict(), '--threads', '1000'],
    /threads is 1000, expected an integer from 1 to 256/,
  ],
  [
    'an unknown metric',
    (p) => ['eval', '--model', RELU.model, '--valid-file', p.lines({ inputIds: [1], label: 1 }), '--metric', 'bleurt'],
    /"bleurt" is unknown, expected one of accuracy/,
  ],
  [
    'nothing to measure the density of',
    () => ['density', '--model', RELU.model],
    /no data given, expected --input FILE/,
  ],
]);

test('--debug shows the stack', async (t) => {
  const place = new Place(temporaryFolder(t));
  const { stderr } = await runDeftune(t, [...place.predict({ model: join(place.folder, 'none') }), '--debug'], {
    code: 1,
  });
  t.regex(stderr, /^error: .*none\/config\.json: .*\n/);
  t.regex(stderr, /\n {4}at .*files-node/);
});
