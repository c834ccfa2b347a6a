import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { resolveLabels } from '../../ts/data/labels.js';
import { readRecordFiles } from '../../ts/data/records-node.js';
import type { DataRecord } from '../../ts/data/record.js';
import { findTaskFiles } from '../../ts/data/task-files-node.js';
import { getTask, TASKS } from '../../ts/data/tasks/index.js';
import { recordOptions } from '../../ts/data/tasks/record-options.js';
import { DeftuneError } from '../../ts/error.js';

const root = mkdtempSync(join(tmpdir(), 'deftune-tasks-'));
test.after.always(() => rmSync(root, { recursive: true }));
let count = 0;
/** A folder with these files. */
function folder(files: Record<string, string>): string {
  const dir = join(root, `d${count++}`);
  mkdirSync(dir);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content);
  }
  return dir;
}

async function read(
  task: string,
  dir: string,
): Promise<{ train: DataRecord[]; validation: Record<string, DataRecord[]> }> {
  const options = recordOptions(getTask(task));
  const files = findTaskFiles(getTask(task), dir);
  const validation: Record<string, DataRecord[]> = {};
  for (const { name, paths } of files.validation) validation[name] = (await readRecordFiles(paths, options)).records;
  return { train: (await readRecordFiles(files.train, options)).records, validation };
}

/** A line of each task's official TSV, with its header (CoLA has none), and what it must become. */
const GLUE: Record<string, { header?: string; row: string; expected: Omit<DataRecord, 'line'>; label: number }> = {
  cola: {
    row: 'gj04\t0\t*\tThe cat "quickly.',
    expected: { text: 'The cat "quickly.', label: 0 },
    label: 0,
  },
  sst2: { header: 'sentence\tlabel', row: 'a joy \t1', expected: { text: 'a joy ', label: 1 }, label: 1 },
  mrpc: {
    header: '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String',
    row: '1\t702876\t702977\tHe said "yes.\tYes, he said.',
    expected: { text: 'He said "yes.', textPair: 'Yes, he said.', label: 1 },
    label: 1,
  },
  qqp: {
    header: 'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate',
    row: '133273\t213221\t213222\tHow?\tHow so?\t0',
    expected: { id: '133273', text: 'How?', textPair: 'How so?', label: 0 },
    label: 0,
  },
  stsb: {
    header: 'index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore',
    row: '0\tmain-captions\tMSRvid\t2012test\t0001\tnone\tnone\tA plane.\tAn air plane.\t5.000',
    expected: { text: 'A plane.', textPair: 'An air plane.', label: 5 },
    label: 5,
  },
  mnli: {
    header:
      'index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label',
    row: '0\t31193\t31193n\tgovernment\t( a )\t( b )\t(ROOT a)\t(ROOT b)\tConceptually.\tProduct.\tneutral\tneutral',
    expected: { text: 'Conceptually.', textPair: 'Product.', label: 'neutral' },
    label: 1,
  },
  qnli: {
    header: 'index\tquestion\tsentence\tlabel',
    row: '0\tWhen?\tIn 1812.\tnot_entailment',
    expected: { text: 'When?', textPair: 'In 1812.', label: 'not_entailment' },
    label: 1,
  },
  rte: {
    header: 'index\tsentence1\tsentence2\tlabel',
    row: '0\tNo weapons.\tWeapons found.\tnot_entailment',
    expected: { text: 'No weapons.', textPair: 'Weapons found.', label: 'not_entailment' },
    label: 1,
  },
  wnli: {
    header: 'index\tsentence1\tsentence2\tlabel',
    row: '0\tI stuck a pin.\tThe carrot had a hole.\t1',
    expected: { text: 'I stuck a pin.', textPair: 'The carrot had a hole.', label: 1 },
    label: 1,
  },
};
/** Columns of Hugging Face's copies. */
const HUB: Record<string, [text: string, textPair?: string]> = {
  cola: ['sentence'],
  sst2: ['sentence'],
  mrpc: ['sentence1', 'sentence2'],
  qqp: ['question1', 'question2'],
  stsb: ['sentence1', 'sentence2'],
  mnli: ['premise', 'hypothesis'],
  qnli: ['question', 'sentence'],
  rte: ['sentence1', 'sentence2'],
  wnli: ['sentence1', 'sentence2'],
};

for (const [name, { header, row, expected, label }] of Object.entries(GLUE)) {
  test(`GLUE's official files of ${name}`, async (t) => {
    const content = [...(header === undefined ? [] : [header]), row, row, ''].join('\r\n');
    const dir = folder(
      name === 'mnli'
        ? { 'train.tsv': content, 'dev_matched.tsv': content, 'dev_mismatched.tsv': content }
        : { 'train.tsv': content, 'dev.tsv': content },
    );
    const { train, validation } = await read(name, dir);
    const first = header === undefined ? 1 : 2;
    t.deepEqual(train, [
      { ...expected, line: first },
      { ...expected, line: first + 1 },
    ]);
    t.deepEqual(Object.keys(validation), name === 'mnli' ? ['matched', 'mismatched'] : ['validation']);
    for (const records of Object.values(validation)) t.deepEqual(records, train);
    const task = getTask(name);
    if (task.kind === 'classification') t.deepEqual(resolveLabels(train, 'f', task.labelNames).labels, [label, label]);
    else t.is(task.labelNames.length, 0);
  });

  test(`Hugging Face's JSON Lines of ${name}`, async (t) => {
    const [text, textPair] = HUB[name] ?? ['text'];
    const value = name === 'stsb' ? 3.8 : 1;
    const line = JSON.stringify({ [text]: 'a', ...(textPair ? { [textPair]: 'b' } : {}), label: value, idx: 7 });
    const valid =
      name === 'mnli'
        ? { 'validation_matched.jsonl': line, 'validation_mismatched.jsonl': line }
        : { 'validation.jsonl': line };
    const { train, validation } = await read(name, folder({ 'train.jsonl': line, ...valid }));
    t.deepEqual(train, [{ text: 'a', ...(textPair ? { textPair: 'b' } : {}), label: value, idx: 7, line: 1 }]);
    t.is(Object.keys(validation).length, name === 'mnli' ? 2 : 1);
    const bad = folder({ 'train.jsonl': `${line}\n{"label":1}`, ...valid });
    await t.throwsAsync(read(name, bad), {
      instanceOf: DeftuneError,
      message: /train\.jsonl:2: fields are "label", expected /,
    });
    if (textPair) {
      const half = folder({ 'train.jsonl': JSON.stringify({ [text]: 'a', label: 1 }), ...valid });
      await t.throwsAsync(read(name, half), {
        message: new RegExp(`:1: fields are .*, expected .*${textPair}.* among them`),
      });
    }
  });
}

test('torn rows are left out where the official file has some, and refused elsewhere', async (t) => {
  const { header = '', row } = GLUE['qqp']!;
  const dir = folder({ 'train.tsv': `${header}\n${row}\n12\t\t0\n${row}\n`, 'dev.tsv': `${header}\n${row}` });
  const notices: string[] = [];
  const { records } = await readRecordFiles(findTaskFiles(getTask('qqp'), dir).train, {
    ...recordOptions(getTask('qqp')),
    onNotice: (notice) => notices.push(notice),
  });
  t.deepEqual(
    records.map(({ line }) => line),
    [2, 4],
  );
  t.deepEqual(notices, [`${dir}/train.tsv: 1 rows with too few or too many columns were left out`]);
  const cola = folder({ 'train.tsv': 'gj04\t1\t\tFine.\ngj04\t1\tFine.\n', 'dev.tsv': 'gj04\t1\t\tFine.' });
  await t.throwsAsync(read('cola', cola), { message: /train\.tsv:2: 3 columns, expected 4$/ });
});

test('a CoLA file with a header is read by it', async (t) => {
  const dir = folder({ 'train.tsv': 'sentence\tlabel\nFine.\t1\n', 'dev.tsv': 'x\t1\t\tFine.\n' });
  t.deepEqual((await read('cola', dir)).train, [{ text: 'Fine.', label: 1, line: 2 }]);
});

test('parts in order, with records counted through', async (t) => {
  const rows = (from: number, n: number): string =>
    Array.from({ length: n }, (_, i) => `{"sentence":"${from + i}","label":0}`).join('\n');
  const dir = folder({
    'train-00000-of-00003.jsonl': rows(0, 2),
    'train-00001-of-00003.jsonl': rows(2, 1),
    'train-00002-of-00003.jsonl': rows(3, 1),
    'validation-00000-of-00001.jsonl': rows(9, 1),
  });
  const { train } = await read('sst2', dir);
  t.deepEqual(
    train.map(({ text, line }) => [text, line]),
    [
      ['0', 1],
      ['1', 2],
      ['2', 3],
      ['3', 4],
    ],
  );
  rmSync(join(dir, 'train-00001-of-00003.jsonl'));
  t.throws(() => findTaskFiles(getTask('sst2'), dir), {
    message: /: 2 parts like train-00000-of-00003\.jsonl found, expected 3/,
  });
});

test('tenth part after the ninth', (t) => {
  const dir = folder({ 'train_10.jsonl': '', 'train_9.jsonl': '', 'dev.tsv': '', 'train_x.jsonl': '' });
  t.deepEqual(findTaskFiles(getTask('sst2'), `${dir}/`).train, [`${dir}/train_9.jsonl`, `${dir}/train_10.jsonl`]);
});

test('what is not there', (t) => {
  t.throws(() => findTaskFiles(getTask('rte'), join(root, 'nowhere')), {
    instanceOf: DeftuneError,
    message: /nowhere: cannot read the files of rte: no such folder$/,
  });
  const dir = folder({ 'dev.tsv': '' });
  t.throws(() => findTaskFiles(getTask('rte'), dir), {
    message: /: no file of rte found, expected train\.\* with one of the endings jsonl/,
  });
  t.throws(() => findTaskFiles(getTask('rte'), join(dir, 'dev.tsv')), { message: /it is a file, expected a folder$/ });
  t.deepEqual(findTaskFiles(getTask('rte'), dir, ['validation']).train, []);
  // MNLI without its second validation set is usable.
  t.deepEqual(
    findTaskFiles(getTask('mnli'), folder({ 'dev_matched.tsv': '' }), ['validation']).validation.map(
      ({ name }) => name,
    ),
    ['matched'],
  );
});

test("Hugging Face's Parquet, and SQuAD's own names", async (t) => {
  const copy = (name: string): Buffer => readFileSync(new URL(`../fixtures/parquet/${name}.parquet`, import.meta.url));
  const dir = folder({});
  writeFileSync(join(dir, 'train-00000-of-00002.parquet'), copy('sst2-snappy'));
  writeFileSync(join(dir, 'train-00001-of-00002.parquet'), copy('sst2-zstd'));
  writeFileSync(join(dir, 'validation-00000-of-00001.parquet'), copy('sst2-none'));
  const { train, validation } = await read('sst2', dir);
  t.is(train.length, 600);
  t.is(train.at(-1)?.line, 600);
  t.is(validation['validation']?.length, 300);
  const qa = JSON.stringify({
    data: [
      { paragraphs: [{ context: 'c', qas: [{ id: 'i', question: 'q', answers: [{ text: 'c', answer_start: 0 }] }] }] },
    ],
  });
  const squad = await read('squad', folder({ 'train-v1.1.json': qa, 'dev-v1.1.json': qa }));
  t.deepEqual(squad.train, [{ question: 'q', context: 'c', answers: [{ text: 'c', start: 0 }], id: 'i', line: 1 }]);
});

test('the registry', (t) => {
  t.is(new Set(TASKS.map(({ name }) => name)).size, TASKS.length);
  for (const task of TASKS) {
    t.true(task.validation.length > 0 && task.metrics.length > 0, task.name);
    t.is(getTask(task.name), task);
  }
  t.deepEqual(
    TASKS.filter(({ metrics }) => metrics.length > 1).map(({ name, metrics }) => [name, ...metrics]),
    [
      ['mrpc', 'accuracy', 'f1'],
      ['qqp', 'accuracy', 'f1'],
      ['stsb', 'pearson', 'spearman'],
      ['squad', 'answerF1', 'exactMatch'],
    ],
  );
  t.throws(() => getTask('sst3'), {
    instanceOf: DeftuneError,
    message: /^task "sst3" is unknown, expected one of cola, sst2,/,
  });
});
