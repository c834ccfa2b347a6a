// Words and questions become the tokens and labels of transformers' run_ner.py and run_qa.py (see test/fixtures/make_head_examples.py).
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { AutoTokenizer } from '../../ts/data/auto-tokenizer-node.js';
import type { HeadInfo, HeadOutput } from '../../ts/heads/head.js';
import { prepareExamples } from '../../ts/heads/prepare-examples.js';
import { questionAnswering } from '../../ts/heads/question-answering.js';
import { tokenClassification } from '../../ts/heads/token-classification.js';

interface Expected {
  names: string[];
  words: { words: string[]; labels: string[]; inputIds: number[]; labelIds: number[] }[];
  context: string;
  maxLength: number;
  questions: { question: string; answer: string; start: number; windows: Window[] }[];
}
interface Window {
  inputIds: number[];
  tokenTypeIds: number[];
  isContext: boolean[];
  span: number[];
}

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const expected = JSON.parse(readFileSync(at('../fixtures/head_examples.json'), 'utf8')) as Expected;
const tokenizer = await AutoTokenizer.fromPretrained(at('../../assets/bert-mini-relu'));
const info = (settings: Partial<HeadInfo>): HeadInfo => ({
  maxLength: 24,
  vocabSize: tokenizer.vocabSize,
  numLabels: expected.names.length,
  labelNames: expected.names,
  ...settings,
});

/** Outputs whose logits say `best` at each place. */
function certain(rows: readonly (readonly number[])[]): HeadOutput {
  return { loss: 0, weight: 1, correct: 0, logits: Float32Array.from(rows.flat()) };
}

test('words: the first token of each has its label', (t) => {
  const records = expected.words.map(({ words, labels }, index) => ({ words, labels, line: index + 1 }));
  const { examples, truncated } = prepareExamples(records, {
    head: tokenClassification,
    info: info({}),
    tokenizer,
    fileName: 'f',
  });
  // The second and the third sentence have more than 24 tokens.
  t.is(truncated, 2);
  expected.words.forEach(({ inputIds, labelIds }, index) => {
    t.deepEqual(Array.from(examples[index]?.inputIds ?? []), inputIds);
    t.deepEqual(Array.from(examples[index]?.labelIds ?? []), labelIds);
  });
});

test('words: a prediction has a label for each, null for those without a token or cut off', (t) => {
  const records = expected.words.map(({ words }, index) => ({ words, line: index + 1 }));
  const { examples } = prepareExamples(records, {
    head: tokenClassification,
    info: info({}),
    tokenizer,
    fileName: 'f',
  });
  // Token i says class i mod 5.
  const outputs = examples.map(({ inputIds }) =>
    certain(Array.from(inputIds, (_, token) => expected.names.map((_name, c) => (c === token % 5 ? 9 : 0)))),
  );
  const predictions = tokenClassification.predictions(outputs, examples, info({})) as {
    labels: (string | null)[];
    scores: (number | null)[];
  }[];
  t.deepEqual(
    predictions.map(({ labels }) => labels.length),
    expected.words.map(({ words }) => words.length),
  );
  t.deepEqual(predictions[3]?.labels, ['B-ORG']);
  // The zero-width space has no token.
  t.is(predictions[1]?.labels[5], null);
  t.is(predictions[2]?.labels.at(-1), null);
  t.true(predictions.flatMap(({ scores }) => scores).every((score) => score === null || (score > 0.99 && score < 1)));
});

test('words: entities are scored whole, on the labelled words alone', (t) => {
  const records = expected.words.map(({ words, labels }, index) => ({ words, labels, line: index + 1 }));
  const { examples } = prepareExamples(records, {
    head: tokenClassification,
    info: info({}),
    tokenizer,
    fileName: 'f',
  });
  const told = (wrong: number): HeadOutput[] =>
    examples.map(({ labelIds = [] }, index) =>
      certain(
        Array.from(labelIds, (label, token) =>
          expected.names.map((_, c) =>
            Number(c === (index === 0 && token === wrong ? 4 : label < 0 ? token % 5 : label)),
          ),
        ),
      ),
    );
  t.deepEqual(tokenClassification.defaultMetrics(info({}), examples), ['entityF1']);
  t.is(tokenClassification.score('entityF1', told(-1), examples, info({})), 1);
  t.is(tokenClassification.score('tokenAccuracy', told(-1), examples, info({})), 1);
  // "Curie" is missed: the person is wrong, and what is left of the name counts as another.
  const missed = told(expected.words[0]?.labelIds.indexOf(expected.names.indexOf('I-PER')) ?? 0);
  t.true(tokenClassification.score('entityPrecision', missed, examples, info({})) < 1);
  t.true(tokenClassification.score('entityRecall', missed, examples, info({})) < 1);
  t.throws(() => tokenClassification.score('f1', missed, examples, info({})), { message: /^metric "f1" is not one/ });
});

test('labels of words are checked with their line', (t) => {
  const labelled = (labels: (string | number)[], line = 3) => [{ words: ['a', 'b'], labels, line }];
  t.deepEqual(tokenClassification.resolveLabels(labelled(['X', 'O']), 'f').names, ['O', 'X']);
  t.deepEqual(tokenClassification.resolveLabels(labelled([1, 0]), 'f').names, ['LABEL_0', 'LABEL_1']);
  t.throws(() => tokenClassification.resolveLabels([{ words: ['a'], line: 2 }], 'f'), {
    message: 'f:2: labels is missing, expected one for each word or token',
  });
  t.throws(() => tokenClassification.resolveLabels(labelled(['X', 'Y']), 'f', ['O', 'X']), {
    message: /^f:3: label is "Y", expected one of/,
  });
  t.throws(() => tokenClassification.resolveLabels(labelled([0, 7]), 'f', ['O', 'X']), {
    message: /^f:3: label is 7, expected 0 to 1/,
  });
  const prepare = (record: object) => () =>
    prepareExamples([{ line: 4, ...record }], { head: tokenClassification, info: info({}), tokenizer, fileName: 'f' });
  t.throws(prepare({ inputIds: [5, 6], labels: [0, 5] }), { message: 'f:4: labels has the class 5, expected 0 to 4' });
  t.throws(prepare({ inputIds: [5, 6], labelIds: [0] }), {
    message: 'f:4: labels has 1 elements, expected 2, one a token id',
  });
  t.throws(prepare({ text: ' ' }), { message: 'f:4: text is " ", expected words' });
});

test('questions: windows with their spans', (t) => {
  const { context, maxLength, questions } = expected;
  const records = questions.map(({ question, answer, start }, index) => ({
    question,
    context,
    // Places are counted as JavaScript does: an emoji is two.
    answers: [{ text: answer, start: Array.from(context).slice(0, start).join('').length }],
    line: index + 1,
  }));
  const options = { head: questionAnswering, info: info({ maxLength }), tokenizer, fileName: 'f' };
  const { examples } = prepareExamples(records, options);
  const windows = questions.flatMap((question) => question.windows);
  t.is(examples.length, windows.length);
  t.true(windows.length > 2 * questions.length);
  windows.forEach((window, index) => {
    const example = examples[index] as { inputIds: number[]; tokenTypeIds: number[]; labelIds: number[] };
    t.deepEqual(example.inputIds, window.inputIds);
    t.deepEqual(example.tokenTypeIds, window.tokenTypeIds);
    t.deepEqual(example.labelIds, window.span);
    t.deepEqual((examples[index] as unknown as Window).isContext, window.isContext);
  });
  // Without a start, the first place that says so.
  const placeless = records.map((record) => ({ ...record, answers: record.answers.map(({ text }) => ({ text })) }));
  t.deepEqual(
    prepareExamples(placeless, options).examples.map(({ labelIds }) => labelIds),
    examples.map(({ labelIds }) => labelIds),
  );

  // Logits that say the label: every question is answered to the letter, once, from the window that holds the answer.
  const outputs = examples.map(({ inputIds, labelIds = [] }, window) => {
    const [start, end] = [labelIds[0] as number, labelIds[1] as number];
    const certainty = start === 0 ? 1 : 10 + window / 100;
    return certain(
      Array.from(inputIds, (_, token) => [token === start ? certainty : 0, token === end ? certainty : 0]),
    );
  });
  const predictions = questionAnswering.predictions(outputs, examples, options.info);
  t.is(predictions.length, questions.length);
  predictions.forEach((prediction, index) => {
    const { answer, start, end, score } = prediction as { answer: string; start: number; end: number; score: number };
    t.is(answer, questions[index]!.answer);
    t.is(context.slice(start, end), answer);
    t.true(score > 0.9 && score <= 1);
  });
  t.is(questionAnswering.score('exactMatch', outputs, examples, options.info), 1);
  t.is(questionAnswering.score('answerF1', outputs, examples, options.info), 1);
  t.throws(() => questionAnswering.score('accuracy', outputs, examples, options.info), {
    message: /^metric "accuracy" is not one of question answering/,
  });
});

test('questions without a text: spans of ids', (t) => {
  const options = { head: questionAnswering, info: info({ maxLength: 6 }), fileName: 'f' };
  const records = [
    { inputIds: [9, 8, 7, 6], labelIds: [1, 2], line: 1 },
    { inputIds: [9, 8, 7, 6, 5, 4, 3], labelIds: [5, 6], line: 2 },
    { inputIds: [9], line: 3 },
  ];
  const { examples, truncated } = prepareExamples(records, options);
  t.is(truncated, 1);
  t.deepEqual(
    examples.map(({ labelIds }) => labelIds),
    [[1, 2], [0, 0], undefined],
  );
  const rows = (starts: number[], ends: number[]): HeadOutput => certain(starts.map((s, i) => [s, ends[i] as number]));
  const outputs = [rows([0, 9, 0, 0], [0, 0, 9, 0]), rows([0, 0, 0, 0, 9, 0], [0, 0, 0, 0, 9, 0]), rows([1], [1])];
  const predictions = questionAnswering.predictions(outputs, examples, options.info, { logits: true });
  t.like(predictions[0], { answerIds: [8, 7], start: 1, end: 2, startLogits: [0, 9, 0, 0] });
  t.like(predictions[2], { answerIds: [9], score: 1 });
  // The second answer was cut off with the text; the third record has none.
  t.is(questionAnswering.score('exactMatch', outputs, examples, options.info), 0.5);
  for (const labelIds of [[2, 1], [0], [0, 4], [0, 1, 2]]) {
    t.throws(() => prepareExamples([{ inputIds: [9, 8, 7, 6], labelIds, line: 1 }], options), {
      message: /^f:1: labelIds is \[.*\], expected the answer's first and last token, each from 0 to 3$/,
    });
  }
});

test('questions: what cannot be asked is said with its line', (t) => {
  const prepare =
    (record: object, maxLength = 48) =>
    () =>
      prepareExamples([{ line: 7, ...record }], {
        head: questionAnswering,
        info: info({ maxLength }),
        tokenizer,
        fileName: 'f',
      });
  const { context } = expected;
  t.throws(prepare({ question: 'Who?', context, answers: [{ text: 'nobody at all' }] }), {
    message: 'f:7: answers has "nobody at all", expected a part of the context',
  });
  t.throws(prepare({ question: 'Who? '.repeat(40), context }), { message: /^f:7: / });
  t.throws(prepare({ text: 'Who?' }), {
    message: 'f:7: question is undefined, expected question and context, or inputIds',
  });
  t.notThrows(prepare({ question: 'Who?', context }));
});
