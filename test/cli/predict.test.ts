import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import { bundled, fixture, modelWith } from './fixtures.js';
import { onBothBackends, readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

interface Prediction {
  label: string;
  score: number;
  logits?: number[];
}

/** The sequences of a fixture's batch whose tokens are all of type 0, as `inputIds` gives them. */
function plainRows(variant: string): { ids: number[]; logits: number[]; baseLogits: number[] }[] {
  const { batch, logits, baseLogits } = fixture(variant).expected;
  return batch.inputIds.flatMap((ids, row) =>
    batch.tokenTypeIds[row]?.every((type) => type === 0)
      ? [{ ids, logits: logits?.[row] as number[], baseLogits: baseLogits[row] as number[] }]
      : [],
  );
}

const softmaxAt = (row: readonly number[], index: number): number =>
  Math.exp(row[index] as number) / row.reduce((sum, value) => sum + Math.exp(value), 0);

for (const variant of ['relu', 'gelu', 'gelu_new', 'silu']) {
  onBothBackends(
    `${variant}: ids in a folder without tokenizer give PyTorch's logits, with and without adapter`,
    async (t, backend) => {
      const folder = temporaryFolder(t);
      const { model, adapter } = fixture(variant);
      const rows = plainRows(variant);
      t.true(rows.length >= 3);
      const input = writeLines(
        join(folder, 'in.jsonl'),
        rows.map(({ ids }) => ({ inputIds: ids })),
      );
      const output = join(folder, 'out.jsonl');
      for (const [extra, key] of [
        [[], 'baseLogits'],
        [['--adapter', adapter], 'logits'],
      ] as const) {
        const args = ['predict', '--model', model, ...extra, '--input', input, '--output', output, '--logits'];
        await runDeftune(t, [...args, '--backend', backend]);
        const lines = readLines<Prediction>(output);
        t.is(lines.length, rows.length);
        lines.forEach(({ label, score, logits = [] }, row) => {
          const expected = rows[row]?.[key] ?? [];
          t.is(logits.length, expected.length);
          logits.forEach((value, index) => {
            t.true(Math.abs(value - (expected[index] as number)) < 1e-4, `${value} is not ${expected[index]}`);
            t.is(value, Math.fround(value));
          });
          const best = logits.indexOf(Math.max(...logits));
          t.is(label, `LABEL_${best}`);
          t.true(Math.abs(score - (logits.length === 1 ? (logits[0] as number) : softmaxAt(logits, best))) < 1e-9);
        });
      }
    },
  );
}

test('half-precision and sharded checkpoints', async (t) => {
  const folder = temporaryFolder(t);
  const rows = plainRows('relu_bf16');
  const input = writeLines(
    join(folder, 'in.jsonl'),
    rows.map(({ ids }) => ({ inputIds: ids })),
  );
  const output = join(folder, 'out.jsonl');
  const args = ['predict', '--input', input, '--output', output, '--logits', '--model'];
  await runDeftune(t, [...args, fixture('relu_bf16').model]);
  readLines<Prediction>(output).forEach(({ logits = [] }, row) => {
    logits.forEach((value, index) => t.true(Math.abs(value - (rows[row]?.baseLogits[index] as number)) < 1e-4));
  });
  const { stderr } = await runDeftune(t, [...args, fixture('relu_f16').model]);
  t.regex(stderr, /note: newly initialized \(train before use\): classifier\.weight, classifier\.bias/);
  t.is(readLines(output).length, rows.length);
});

test('lines come out in the order of the records, whatever the batches', async (t) => {
  const folder = temporaryFolder(t);
  const { model, adapter, expected } = fixture('relu');
  const ids = [...expected.batch.inputIds, ...expected.training.batches.flatMap(({ inputIds }) => inputIds)];
  const input = writeLines(
    join(folder, 'in.jsonl'),
    ids.map((inputIds) => ({ inputIds })),
  );
  const logitsOf = async (batchSize: number): Promise<number[][]> => {
    const output = join(folder, `out-${batchSize}.jsonl`);
    const args = ['--input', input, '--output', output, '--logits', '--batch-size', batchSize];
    await runDeftune(t, ['predict', '--model', model, '--adapter', adapter, ...args]);
    return readLines<Prediction>(output).map(({ logits }) => logits ?? []);
  };
  const [together, alone] = await Promise.all([logitsOf(64), logitsOf(1)]);
  t.is(together.length, ids.length);
  together.forEach((row, index) => {
    row.forEach((value, column) => {
      t.true(Math.abs(value - (alone[index]?.[column] as number)) < 1e-5, `record ${index}`);
    });
  });
});

test('without --logits a line is the label and its score; --json prints a summary', async (t) => {
  const folder = temporaryFolder(t);
  const { model, adapter } = fixture('relu');
  const input = writeLines(join(folder, 'in.jsonl'), [{ inputIds: [5, 6] }, { inputIds: [7], label: 'ignored' }]);
  const output = join(folder, 'out.jsonl');
  const args = ['predict', '--model', model, '--adapter', adapter, '--input', input, '--output', output];
  const summary = await runJson(t, args);
  t.like(summary, { output, examples: 2, truncated: 0 });
  t.true((summary['density'] as number) > 0 && (summary['density'] as number) < 1);
  for (const line of readLines(output)) t.deepEqual(Object.keys(line), ['label', 'score']);
  const { stdout } = await runDeftune(t, args);
  t.regex(stdout, /^2 predictions: .*out\.jsonl \(density \d+\.\d\d %\)\n$/);
});

test('one thread and two threads give identical bits', async (t) => {
  const folder = temporaryFolder(t);
  const outputs = await Promise.all(
    [1, 2].map(async (threads) => {
      const output = join(folder, `out-${threads}.jsonl`);
      const args = ['--input', bundled.valid, '--output', output, '--logits', '--threads', threads];
      await runDeftune(t, ['predict', '--model', bundled.model, ...args]);
      return readFileSync(output, 'utf8');
    }),
  );
  t.is(outputs[0]?.split('\n').length, 301);
  t.is(outputs[0], outputs[1]);
});

test('texts and pairs, as JSONL, CSV and TSV, equal their token ids', async (t) => {
  const folder = temporaryFolder(t);
  const tokenizer = await AutoTokenizer.fromPretrained(bundled.model);
  const texts = ['a moving film, really', 'dull and "far too" long', 'fine'];
  const pairs = ['it is good', 'nobody laughed', 'yes, very'];
  const quoted = (cell: string): string => `"${cell.replaceAll('"', '""')}"`;
  const paths = {
    ids: writeLines(
      join(folder, 'ids.jsonl'),
      texts.map((text) => ({ inputIds: tokenizer.encode(text).inputIds })),
    ),
    jsonl: writeLines(
      join(folder, 'text.jsonl'),
      texts.map((text) => ({ text })),
    ),
    csv: join(folder, 'text.csv'),
    tsv: join(folder, 'text.tsv'),
    pairsJsonl: writeLines(
      join(folder, 'pairs.jsonl'),
      texts.map((text, i) => ({ text, textPair: pairs[i] })),
    ),
    pairsTsv: join(folder, 'pairs.tsv'),
  };
  writeFileSync(paths.csv, ['id,text,label', ...texts.map((text, i) => `${i},${quoted(text)},1`), ''].join('\r\n'));
  writeFileSync(paths.tsv, ['sentence\tlabel', ...texts.map((text) => `${text}\t0`), ''].join('\n'));
  writeFileSync(paths.pairsTsv, ['sentence1\tsentence2', ...texts.map((text, i) => `${text}\t${pairs[i]}`)].join('\n'));
  const results = Object.fromEntries(
    await Promise.all(
      Object.entries(paths).map(async ([name, input]) => {
        const output = join(folder, `${name}.out`);
        await runDeftune(t, ['predict', '--model', bundled.model, '--input', input, '--output', output, '--logits']);
        return [name, readFileSync(output, 'utf8')] as const;
      }),
    ),
  );
  t.is(results['ids']?.split('\n').length, 4);
  for (const name of ['jsonl', 'csv', 'tsv']) t.is(results[name], results['ids'], name);
  t.is(results['pairsTsv'], results['pairsJsonl']);
  t.not(results['pairsJsonl'], results['ids']);
});

test('names of the classes come from the model', async (t) => {
  const folder = temporaryFolder(t);
  const model = modelWith(folder, 'relu', { id2label: { 0: 'bad', 1: 'good' }, label2id: { bad: 0, good: 1 } });
  const input = writeLines(join(folder, 'in.jsonl'), [{ inputIds: [33] }]);
  const output = join(folder, 'out.jsonl');
  await runDeftune(t, ['predict', '--model', model, '--input', input, '--output', output, '--logits']);
  const [line] = readLines<Prediction>(output);
  t.is(line?.label, (line?.logits?.[0] ?? 0) > (line?.logits?.[1] ?? 0) ? 'bad' : 'good');
});

test('what is beyond the position limit is cut, and counted in the summary', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = fixture('relu');
  const long = Array.from({ length: 30 }, (_, i) => i + 1);
  const input = writeLines(join(folder, 'in.jsonl'), [
    { inputIds: long },
    { inputIds: long.slice(0, 24) },
    { inputIds: [1] },
  ]);
  const output = join(folder, 'out.jsonl');
  const args = ['predict', '--model', model, '--input', input, '--output', output, '--logits'];
  const { stderr } = await runDeftune(t, args);
  t.regex(stderr, /warning: 1 texts? .*24 tokens/);
  const [cut, whole] = readLines<Prediction>(output);
  t.deepEqual(cut, whole);
  t.is((await runJson(t, args))['truncated'], 1);

  const text = writeLines(join(folder, 'text.jsonl'), [{ text: 'film '.repeat(400) }, { text: 'film' }]);
  t.like(await runJson(t, ['predict', '--model', bundled.model, '--input', text, '--output', output]), {
    examples: 2,
    truncated: 1,
  });
  t.like(await runJson(t, ['density', '--model', bundled.model, '--input', text]), {
    truncated: 1,
    tokens: 256 + 3,
  });
});

test('an output is replaced whole, also where it is beside the input', async (t) => {
  const folder = temporaryFolder(t);
  const { model } = fixture('relu');
  copyFileSync(writeLines(join(folder, 'in.jsonl'), [{ inputIds: [3] }]), join(folder, 'out.jsonl'));
  await runDeftune(t, ['predict', '--model', model, '--input', 'in.jsonl', '--output', 'out.jsonl'], { cwd: folder });
  t.deepEqual(Object.keys(readLines(join(folder, 'out.jsonl'))[0] ?? {}), ['label', 'score']);
});
