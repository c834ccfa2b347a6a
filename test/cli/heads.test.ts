// The commands for every head of RoBERTa and GPT-2, on the checkpoints of test/fixtures.
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { FamilyFixture } from '../models/heads-fixture.js';
import { bundled, fixture } from './fixtures.js';
import { readLines, runDeftune, runJson, temporaryFolder, writeLines } from './run-deftune.js';

const FAMILIES = { roberta: new FamilyFixture('roberta'), gpt2: new FamilyFixture('gpt2') };

/** Heads with labels a user can write, and the metrics that they report. */
const HEADS = {
  SequenceClassification: ['accuracy'],
  TokenClassification: ['tokenAccuracy'],
  QuestionAnswering: ['answerF1', 'exactMatch'],
  MaskedLM: ['tokenAccuracy', 'perplexity'],
  CausalLM: ['tokenAccuracy', 'perplexity'],
} as const;

for (const [name, family] of Object.entries(FAMILIES)) {
  for (const [head, expected] of Object.entries(family.expected.heads)) {
    const metrics = HEADS[head as keyof typeof HEADS] as readonly string[] | undefined;
    if (!metrics) continue;
    const recordsOf = (): object[] => family.records(head).map((record) => ({ ...record, line: undefined }));

    test(`${name} ${head}: predict, eval and density say what transformers says`, async (t) => {
      const folder = temporaryFolder(t);
      const records = writeLines(join(folder, 'records.jsonl'), recordsOf());
      const output = join(folder, 'out.jsonl');
      const common = ['--model', family.model, '--head', head];
      await runDeftune(t, ['predict', ...common, '--input', records, '--output', output, '--logits']);
      const lines = readLines(output);
      t.is(lines.length, 6);
      if (expected.losses) {
        lines.forEach((line, index) => {
          t.deepEqual(Object.keys(line), ['loss']);
          const loss = expected.losses?.[index] ?? null;
          if (loss === null) t.is(line['loss'], null);
          else t.true(Math.abs((line['loss'] as number) - loss) < 1e-4 * (1 + loss));
        });
      } else if (head === 'QuestionAnswering') {
        lines.forEach(({ startLogits, endLogits, answerIds, start, end, score }, index) => {
          const rows = expected.logits[index] as number[][];
          rows.forEach(([s = 0, e = 0], token) => {
            t.true(Math.abs(((startLogits as number[])[token] as number) - s) < 1e-4);
            t.true(Math.abs(((endLogits as number[])[token] as number) - e) < 1e-4);
          });
          const ids = family.expected.data.inputIds[index] as number[];
          t.deepEqual(answerIds, ids.slice(start as number, (end as number) + 1));
          t.true((score as number) > 0 && (score as number) <= 1);
        });
      } else {
        lines.forEach(({ logits }, index) => {
          const wanted = (expected.logits[index] as number[][]).flat();
          const given = (logits as number[][]).flat();
          t.is(given.length, wanted.length);
          wanted.forEach((value, place) => t.true(Math.abs((given[place] as number) - value) < 1e-4));
        });
      }
      const measured = await runJson(t, ['density', ...common, '--input', records]);
      t.true(Math.abs((measured['density'] as number) - expected.density.mean) < 1e-9);
      const scored = await runJson(t, ['eval', ...common, '--valid-file', records]);
      t.true(Math.abs((scored['loss'] as number) - expected.loss) < 1e-4 * (1 + expected.loss));
      for (const metric of metrics) t.is(typeof scored[metric], 'number', metric);
    });

    test(`${name} ${head}: train with a density loss, then eval and predict with the adapter`, async (t) => {
      const folder = temporaryFolder(t);
      const records = writeLines(join(folder, 'records.jsonl'), recordsOf());
      const out = join(folder, 'adapter');
      const log = join(folder, 'log.jsonl');
      const common = ['--model', family.model, '--head', head];
      const data = ['--train-file', records, '--valid-file', records, '--batch-size', '3', '--max-steps', '4'];
      const trained = await runJson(t, ['train', ...common, ...data, '--out', out, '--density', 'l0', '--log', log]);
      const steps = readLines<{ densityLoss: number; loss: number }>(log).filter((entry) => !('eval' in entry));
      t.is(steps.length, 4);
      t.true(steps.every(({ densityLoss, loss }) => densityLoss > 0 && Number.isFinite(loss)));
      const evaluation = trained['evaluation'] as Record<string, unknown>;
      for (const metric of metrics) t.is(typeof evaluation[metric], 'number', metric);
      // The adapter says by itself which head it is for.
      const scored = await runJson(t, ['eval', '--model', family.model, '--adapter', out, '--valid-file', records]);
      for (const key of [...metrics, 'loss', 'density']) {
        t.true(
          Math.abs((scored[key] as number) - (evaluation[key] as number)) <
            1e-5 * (1 + Math.abs(scored[key] as number)),
          key,
        );
      }
      const output = join(folder, 'out.jsonl');
      await runDeftune(t, [
        'predict',
        '--model',
        family.model,
        '--adapter',
        out,
        '--input',
        records,
        '--output',
        output,
      ]);
      t.is(readLines(output).length, 6);
    });
  }

  test(`${name}: a full fine-tune is a model of its own, in transformers' layout`, async (t) => {
    const folder = temporaryFolder(t);
    const head = 'SequenceClassification';
    const records = writeLines(
      join(folder, 'records.jsonl'),
      family.records(head).map(({ inputIds, label }) => ({ inputIds, label })),
    );
    const out = join(folder, 'full');
    const data = ['--train-file', records, '--valid-file', records, '--batch-size', '3', '--max-steps', '3'];
    const paths = ['--model', family.model, '--head', head, '--method', 'full', '--out', out];
    const trained = await runJson(t, ['train', ...paths, ...data, '--lr', '1e-3']);
    const { loss } = trained['evaluation'] as { loss: number };
    const scored = await runJson(t, ['eval', '--model', out, '--valid-file', records]);
    t.true(Math.abs((scored['loss'] as number) - loss) < 1e-5);
    const [architecture] = (JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as { architectures: string[] })
      .architectures;
    t.is(architecture, name === 'gpt2' ? 'GPT2ForSequenceClassification' : 'RobertaForSequenceClassification');
    const header = readFileSync(join(out, 'model.safetensors'));
    const shapes = JSON.parse(header.subarray(8, 8 + Number(header.readBigUInt64LE())).toString()) as Record<
      string,
      { shape: number[] }
    >;
    for (const [key, { shape }] of family.tensors) {
      // The tensors of other heads are not written.
      if (shapes[key]) t.deepEqual(shapes[key].shape, [...shape], key);
    }
    t.true(Object.keys(shapes).length > 20);
  });
}

test('compare: PEFT against DEFT with GPT-2, by its language model', async (t) => {
  const folder = temporaryFolder(t);
  const family = FAMILIES.gpt2;
  const records = writeLines(
    join(folder, 'records.jsonl'),
    family.expected.data.inputIds.map((inputIds) => ({ inputIds })),
  );
  const data = ['--train-file', records, '--valid-file', records, '--batch-size', '3', '--max-steps', '2'];
  const out = join(folder, 'report');
  const result = await runJson(t, ['compare', '--model', family.model, ...data, '--seeds', '0', '--out', out]);
  const runs = result['runs'] as { variant: string; metricName: string; metric: number; density: number }[];
  t.deepEqual(
    runs.map(({ variant, metricName }) => [variant, metricName]),
    [
      ['PEFT', 'tokenAccuracy'],
      ['DEFT', 'tokenAccuracy'],
    ],
  );
  t.true(runs.every(({ metric, density }) => metric >= 0 && density > 0));
});

test('words and questions, by the tokenizer of a directory', async (t) => {
  const folder = temporaryFolder(t);
  const words = writeLines(join(folder, 'words.jsonl'), [
    { words: ['Marie', 'Curie', 'lived', 'in', 'Paris'], labels: ['B-PER', 'I-PER', 'O', 'O', 'B-LOC'] },
    { words: ['Nobody', 'came'], labels: ['O', 'O'] },
  ]);
  const common = ['--model', bundled.model, '--batch-size', '2', '--max-steps', '2'];
  const tagger = join(folder, 'tagger');
  const trained = await runJson(t, ['train', ...common, '--train-file', words, '--valid-file', words, '--out', tagger]);
  t.is(typeof (trained['evaluation'] as Record<string, unknown>)['entityF1'], 'number');
  const output = join(folder, 'out.jsonl');
  const texts = writeLines(join(folder, 'texts.jsonl'), [{ text: 'Marie Curie  lived' }, { words: ['in', 'Paris'] }]);
  await runDeftune(t, ['predict', '--model', bundled.model, '--adapter', tagger, '--input', texts, '--output', output]);
  const lines = readLines<{ labels: string[]; scores: number[] }>(output);
  t.deepEqual(
    lines.map(({ labels }) => labels.length),
    [3, 2],
  );
  t.true(lines.flatMap(({ labels }) => labels).every((label) => ['B-LOC', 'B-PER', 'I-PER', 'O'].includes(label)));

  const context = `It began in Lyon. ${'The film is long and slow and nobody knows why it was made. '.repeat(40)}It ends in Oslo.`;
  const squad = writeLines(join(folder, 'squad.jsonl'), [
    { question: 'Where does it begin?', context, answers: [{ text: 'Lyon', answer_start: context.indexOf('Lyon') }] },
    { question: 'Where does it end?', context, answers: ['Oslo', 'in Oslo'] },
  ]);
  const reader = join(folder, 'reader');
  const read = await runJson(t, ['train', ...common, '--train-file', squad, '--valid-file', squad, '--out', reader]);
  const { answerF1, exactMatch } = read['evaluation'] as { answerF1: number; exactMatch: number };
  t.true(answerF1 >= 0 && answerF1 <= 1 && exactMatch <= answerF1);
  await runDeftune(t, ['predict', '--model', bundled.model, '--adapter', reader, '--input', squad, '--output', output]);
  const answers = readLines<{ answer: string; score: number; start: number; end: number }>(output);
  // One answer a question, though each has several windows.
  t.is(answers.length, 2);
  for (const { answer, start, end } of answers) t.is(context.slice(start, end), answer);
});

test('what does not fit is refused in one line', async (t) => {
  const folder = temporaryFolder(t);
  const { roberta, gpt2 } = FAMILIES;
  const records = writeLines(join(folder, 'r.jsonl'), [{ inputIds: [5, 6] }]);
  const predict = (model: string, ...rest: string[]): string[] => [
    ...['predict', '--model', model, '--input', records, '--output', join(folder, 'o.jsonl')],
    ...rest,
  ];
  const refused = async (args: readonly string[], message: RegExp): Promise<void> => {
    const { stderr } = await runDeftune(t, args, { code: 1 });
    t.regex(stderr, message);
    t.is(stderr.trimEnd().split('\n').length, 1);
  };
  // A file of another family under this family's config.
  const mixed = join(folder, 'mixed');
  cpSync(roberta.model, mixed, { recursive: true });
  cpSync(join(gpt2.model, 'model.safetensors'), join(mixed, 'model.safetensors'));
  await refused(predict(mixed), /mixed: the checkpoint does not fit its config\.json: .* is missing; .*and \d+ more$/m);
  cpSync(join(gpt2.model, 'config.json'), join(mixed, 'config.json'));
  const config = JSON.parse(readFileSync(join(mixed, 'config.json'), 'utf8')) as Record<string, unknown>;
  const withConfig = (fields: Record<string, unknown>): string[] => {
    writeFileSync(join(mixed, 'config.json'), JSON.stringify({ ...config, ...fields }));
    return predict(mixed);
  };
  // Four times the hidden size where n_inner is null.
  await refused(withConfig({ n_inner: null }), /h\.0\.mlp\.c_fc\.weight has shape \[36, 76\], expected \[36, 144\]/);
  await refused(withConfig({ n_head: 5 }), /config\.json: n_head is 5, expected a divisor of n_embd \(36\)/);
  await refused(withConfig({ add_cross_attention: true }), /config\.json: add_cross_attention is true, expected false/);
  await refused(withConfig({ tie_word_embeddings: false }), /lm_head\.weight is missing/);
  await refused(predict(gpt2.model, '--head', 'MaskedLM'), /head is "MaskedLM", expected one that gpt2 has: CausalLM/);
  await refused(predict(roberta.model, '--head', 'CausalLM'), /expected one that roberta has: Sequence/);
  // An adapter of BERT's on GPT-2.
  await refused(
    predict(gpt2.model, '--adapter', fixture('gelu').adapter),
    /targetModules: 'query' matches no linear layer/,
  );

  const bad = (lines: readonly object[], ...rest: string[]): string[] => {
    const file = writeLines(join(folder, 'bad.jsonl'), lines);
    const out = join(folder, 'never');
    return ['train', '--model', roberta.model, '--train-file', file, '--max-steps', '1', '--out', out, ...rest];
  };
  const fine = { inputIds: [5, 6], labels: [0, 1] };
  await refused(bad([fine, { inputIds: [5, 6], labels: [0] }]), /bad\.jsonl:2: labels has 1 elements, expected 2/);
  await refused(
    bad([fine, { inputIds: [5, 60], labels: [0, 1] }]),
    /bad\.jsonl:2: inputIds has the token id 60, expected 0 to 56/,
  );
  await refused(bad([fine, { inputIds: [5, 6] }]), /bad\.jsonl:2: labels is missing/);
  await refused(
    bad([{ inputIds: [5, 6], labelIds: [0, 2] }], '--head', 'QuestionAnswering'),
    /bad\.jsonl:1: labelIds is \[0, ?2\], expected the answer's first and last token, each from 0 to 1/,
  );
  await refused(
    bad([{ inputIds: [5, 6], labelIds: [0, 1] }, { inputIds: [5, 6] }], '--head', 'QuestionAnswering'),
    /example 1 has no label/,
  );
  const ner = writeLines(join(folder, 'ner.jsonl'), [fine]);
  const wide = writeLines(join(folder, 'wide.jsonl'), [{ inputIds: [5, 6], labels: [0, 9] }]);
  await refused(
    [...bad([fine]), '--valid-file', wide].map((arg) => (arg.endsWith('bad.jsonl') ? ner : arg)),
    /wide\.jsonl:1: label is 9, expected/,
  );
  t.deepEqual(
    readdirSync(folder).filter((name) => name === 'never'),
    [],
  );
});
