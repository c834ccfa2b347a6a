import { collate, IGNORED_LABEL } from '../data/batching.js';
import { bestSpan } from '../data/best-span.js';
import type { DataRecord } from '../data/record.js';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { TEXT_METRICS, type TextMetricName } from '../metrics/text-metrics.js';
import { sequenceCrossEntropy } from '../ops/task-losses.js';
import { Tensor } from '../tensor/tensor.js';
import { encodeText } from './encode-text.js';
import type { ExampleContext, Head, HeadOutput } from './head.js';
import { questionWindows, type Question, type QuestionWindow } from './question-windows.js';
import { argmax, crossEntropyOf, softmax } from './softmax.js';

/** Longest answer, in tokens, and the number of starts and ends that are combined: those of transformers' run_qa.py. */
const SPAN = { maxAnswerLength: 30, nBest: 20 };

/**
 * Finds the answer to a question in a text (SQuAD v1.1): scores each token as its start and as its end. Logits [tokens, 2]. Long texts
 * become several windows that overlap; the window with the best span answers.
 */
export const questionAnswering: Head = {
  name: 'QuestionAnswering',
  taskType: 'QUESTION_ANS',
  hasLabels: false,
  claims: ({ question, context }) => question !== undefined && context !== undefined,
  isLabelled: ({ labelIds }) => labelIds !== undefined,
  resolveLabels: () => ({ labels: [], names: [], regression: false }),

  toExamples(record, _label, context): QuestionWindow[] {
    if (record.question !== undefined && record.context !== undefined) return questionWindows(record, context);
    if (!record.inputIds) {
      const { where } = context;
      throw new DeftuneError(
        `${where}: question is ${showValue(record.question)}, expected question and context, or inputIds`,
      );
    }
    return [idsWindow(record, record.inputIds, context)];
  },

  collate(examples) {
    const batch = collate(examples);
    const isLabelled = examples.some(({ labelIds }) => labelIds !== undefined);
    const labels = examples.flatMap(({ labelIds }) => [labelIds?.[0] ?? IGNORED_LABEL, labelIds?.[1] ?? IGNORED_LABEL]);
    return { ...batch, labels: isLabelled ? Int32Array.from(labels) : undefined, cuOutputs: batch.cuSeqlens };
  },

  /** Nor does transformers' Trainer smooth where an answer starts and ends. */
  smoothsLabels: () => false,

  /** Mean of the cross-entropies of the start and of the end, over each window's own tokens. */
  loss(logits, { labels, cuSeqlens }) {
    const { backend } = logits;
    return sequenceCrossEntropy(
      logits,
      Tensor.fromInts(backend, Int32Array.from(labels ?? [])),
      Tensor.fromInts(backend, cuSeqlens),
    );
  },

  lossWeight: ({ labels }) => Array.from(labels ?? []).filter((label) => label !== IGNORED_LABEL).length,

  outputs(logits, { size, labels, cuSeqlens }) {
    const values = logits.toFloats();
    return Array.from({ length: size }, (_, index): HeadOutput => {
      const own = values.slice((cuSeqlens[index] as number) * 2, (cuSeqlens[index + 1] as number) * 2);
      const [start = IGNORED_LABEL, end = IGNORED_LABEL] = Array.from(labels?.subarray(index * 2, index * 2 + 2) ?? []);
      if (start === IGNORED_LABEL) return { loss: Number.NaN, weight: 0, logits: own, correct: 0 };
      const [starts, ends] = columnsOf(own);
      const loss = (crossEntropyOf(starts, start) + crossEntropyOf(ends, end)) / 2;
      return { loss, weight: 2, logits: own, correct: Number(argmax(starts) === start) + Number(argmax(ends) === end) };
    });
  },

  /**
   * The answer with its place, and as score the probability of its start times that of its end; without `answer` where there is no
   * text, only ids.
   */
  predictions: (outputs, examples: readonly QuestionWindow[], _info, options) =>
    answersOf(outputs, examples).map(({ fields, score, starts, ends }) => ({
      ...fields,
      score,
      ...(options?.logits ? { startLogits: starts, endLogits: ends } : {}),
    })),

  defaultMetrics: () => ['answerF1', 'exactMatch'],

  score(metricName, outputs, examples: readonly QuestionWindow[]) {
    if (!Object.hasOwn(TEXT_METRICS, metricName)) {
      const known = Object.keys(TEXT_METRICS).join(', ');
      throw new DeftuneError(
        `metric ${showValue(metricName)} is not one of question answering, expected one of ${known}`,
      );
    }
    const answered = answersOf(outputs, examples).filter(({ question }) => question.answers !== undefined);
    return TEXT_METRICS[metricName as TextMetricName](
      answered.map(({ text }) => text),
      answered.map(({ question }) => question.answers ?? []),
    );
  },

  warnings: () => [],
};

/** Ready-made ids, whose `labelIds` are the tokens where the answer starts and ends. The metrics compare ids as if they were words. */
function idsWindow({ labelIds }: DataRecord, given: readonly number[], context: ExampleContext): QuestionWindow {
  const { inputIds } = encodeText({ inputIds: [...given], line: 0 }, context);
  const ids = Array.from(inputIds);
  const span = labelIds?.every((label) => label === IGNORED_LABEL) ? undefined : labelIds;
  if (span) checkSpan(span, given.length, context);
  const [start = 0, end = 0] = span ?? [];
  return {
    inputIds,
    // As run_qa.py does for a window without the answer.
    labelIds: span && (end < ids.length ? [start, end] : [0, 0]),
    question: { answers: span && [given.slice(start, end + 1).join(' ')] },
    isContext: ids.map(() => true),
    answer(first, last) {
      const answerIds = ids.slice(first, last + 1);
      return { text: answerIds.join(' '), fields: { answerIds, start: first, end: last } };
    },
    noAnswer: { answerIds: [] },
  };
}

function checkSpan(span: readonly number[], tokens: number, { where }: ExampleContext): void {
  const [start = Number.NaN, end = Number.NaN] = span;
  if (span.length === 2 && start >= 0 && start <= end && end < tokens) return;
  throw new DeftuneError(
    `${where}: labelIds is ${showValue(span)}, expected the answer's first and last token, each from 0 to ${tokens - 1}`,
  );
}

/** Logits of the starts and of the ends, from rows of both. */
function columnsOf(logits: Float32Array): [starts: number[], ends: number[]] {
  const column = (offset: number): number[] =>
    Array.from({ length: logits.length / 2 }, (_, token) => logits[token * 2 + offset] as number);
  return [column(0), column(1)];
}

/** The best answer to a question. */
interface QuestionAnswer {
  question: Question;
  text: string;
  fields: Readonly<Record<string, unknown>>;
  /** Probability of the start times that of the end, among the tokens of the window. */
  score: number;
  starts: number[];
  ends: number[];
}

/** One answer a question: from the window whose best span has the largest sum of logits. */
function answersOf(outputs: readonly HeadOutput[], windows: readonly QuestionWindow[]): QuestionAnswer[] {
  const best = new Map<Question, QuestionAnswer & { sum: number }>();
  outputs.forEach(({ logits }, index) => {
    const { question, isContext, answer, noAnswer } = windows[index] as QuestionWindow;
    const [starts, ends] = columnsOf(logits);
    const span = bestSpan(starts, ends, isContext, SPAN);
    const sum = span?.score ?? -Infinity;
    const before = best.get(question);
    if (before && before.sum >= sum) return;
    const { text, fields } = span ? answer(span.start, span.end) : { text: '', fields: noAnswer };
    const score = span ? (softmax(starts)[span.start] as number) * (softmax(ends)[span.end] as number) : 0;
    best.set(question, { question, text, fields, score, starts, ends, sum });
  });
  return [...best.values()];
}
