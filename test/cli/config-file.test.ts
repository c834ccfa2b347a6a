// Settings of a run in a YAML or JSON file.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { fixture, recordsOf } from './fixtures.js';
import { readLines, runDeftune, temporaryFolder, writeLines } from './run-deftune.js';

test('a file gives what the command line would; the command line wins', async (t) => {
  const folder = temporaryFolder(t);
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  const at = (name: string): string => join(folder, name);
  const direct = ['--model', model, '--train-file', records, '--method', 'lora', '--lr', '2e-3', '--max-steps', 3];
  const more = ['--batch-size', 4, '--no-shuffle', '--lora-target', 'query,value', '--scheduler', 'constant'];
  await runDeftune(t, ['train', ...direct, ...more, '--density', 'tanh', '--out', at('a'), '--log', at('a.jsonl')]);
  const yaml = [
    `model: ${model}`,
    `trainFile: ${records}`,
    '# PyYAML would take this for a text',
    'lr: 2e-3',
    'max_steps: 30',
    'batch-size: 4',
    'shuffle: false',
    'method: lora',
    'loraTarget: [query, value]',
    'density: tanh',
    'scheduler: constant',
    'resume: false',
  ];
  writeFileSync(at('run.yaml'), yaml.join('\n'));
  const json = { model, trainFile: records, lr: 2e-3, maxSteps: 3, batchSize: 4, shuffle: false, method: 'lora' };
  const rest = { loraTarget: 'query,value', density: 'tanh', scheduler: 'constant' };
  writeFileSync(at('run.json'), JSON.stringify({ ...json, ...rest }));
  await runDeftune(t, [
    'train',
    '--config',
    at('run.yaml'),
    '--max-steps',
    3,
    '--out',
    at('b'),
    '--log',
    at('b.jsonl'),
  ]);
  await runDeftune(t, ['train', `--config=${at('run.json')}`, '--out', at('c'), '--log', at('c.jsonl')]);
  const losses = (name: string): unknown[] => readLines(at(name)).map(({ loss, lr }) => [loss, lr]);
  t.is(losses('a.jsonl').length, 3);
  t.deepEqual(losses('b.jsonl'), losses('a.jsonl'));
  t.deepEqual(losses('c.jsonl'), losses('a.jsonl'));
});

test('what is wrong in a file is said in one line', async (t) => {
  const folder = temporaryFolder(t);
  const cases: [name: string, content: string, message: RegExp][] = [
    ['a.yaml', 'lr: fast', /a\.yaml: lr is "fast", .*expected number/],
    ['b.yaml', 'lr:', /b\.yaml: lr is null, .*expected number/],
    ['c.yaml', 'lr: 1\nlr: 2', /c\.yaml:2:1: invalid YAML, map keys must be unique/],
    ['d.yaml', 'lr: 1\n  warmup: 2', /d\.yaml:\d+:\d+: invalid YAML, /],
    ['e.yaml', '- lr', /e\.yaml: the file holds .*, expected settings by name/],
    ['f.yaml', 'learning: 1', /f\.yaml: "learning" is no option of train, expected one of /],
    ['g.json', '{"lr": 1,}', /g\.json:1:\d+: invalid JSON, /],
    ['h.json', '{"batchSize": 1.5}', /h\.json: batchSize is 1.5, .*expected int/],
    ['i.json', '{"batchSize": 4, "batch_size": 4}', /i\.json: batchSize is given twice/],
    ['j.json', '{"density": "relu"}', /j\.json: density is "relu", .*expected one of .*tanh/],
    ['k.json', '{"shuffle": "no"}', /k\.json: shuffle is "no", .*expected boolean/],
    ['l.json', '{"exemptFromDecay": ["a,b"]}', /l\.json: exemptFromDecay\.0 is "a,b", expected a name without a comma/],
    ['m.json', '{"batchSize": 0}', /batchSize is 0, .*expected/],
    ['n.yaml', '', /n\.yaml: the file holds null, expected settings by name/],
  ];
  const { model, expected } = fixture('relu');
  const records = writeLines(join(folder, 'records.jsonl'), recordsOf(expected.training.batches));
  for (const [name, content, message] of cases) {
    writeFileSync(join(folder, name), content);
    const paths = ['--model', model, '--train-file', records, '--out', join(folder, 'out')];
    const { stderr } = await runDeftune(t, ['train', '--config', join(folder, name), ...paths], { code: 1 });
    t.regex(stderr, message);
    t.regex(stderr, /^error: [^\n]*\n$/);
  }
  const { stderr } = await runDeftune(t, ['train', '--config', join(folder, 'none.yaml')], { code: 1 });
  t.regex(stderr, /none\.yaml: cannot read: no such file or folder/);
});
