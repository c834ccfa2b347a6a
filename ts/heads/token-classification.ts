import { collate, IGNORED_LABEL, type Example } from '../data/batching.js';
import { encodeWords } from '../data/encode-words.js';
import { resolveLabels } from '../data/labels.js';
import type { DataRecord } from '../data/record.js';
import { DeftuneError } from '../error.js';
import { entityScores } from '../metrics/entity-f1.js';
import { isCollapsed } from '../metrics/is-collapsed.js';
import { tokenAccuracy } from '../metrics/token-accuracy.js';
import { showValue } from '../io/show-value.js';
import { crossEntropy } from '../ops/task-losses.js';
import { Tensor } from '../tensor/tensor.js';
import { checkIds, encodeText } from './encode-text.js';
import type { ExampleContext, Head, HeadInfo, HeadOutput } from './head.js';
import { argmax, crossEntropyOf, softmax } from './softmax.js';

/** A text whose words, or tokens, are labelled. */
interface TokenExample extends Example {
  /** Token of each answer: the first of each word, or every token; undefined: of a word that has none, or that was cut off. */
  answerTokens?: readonly (number | undefined)[];
}

/** Labels each word of a text by its first token (as transformers' run_ner.py), or each token of ready-made ids. Logits [tokens, numLabels]. */
export const tokenClassification: Head = {
  name: 'TokenClassification',
  taskType: 'TOKEN_CLS',
  hasLabels: true,
  claims: ({ labels }) => labels !== undefined,
  isLabelled: ({ labelIds }) => labelIds !== undefined,

  /** Classes of all words of a file; the labels themselves are looked up by {@link toExamples}. */
  resolveLabels(records, fileName, known) {
    const words = records.flatMap((record) => {
      const labels: readonly (string | number)[] | undefined = record.labels ?? record.labelIds;
      if (!labels) {
        throw new DeftuneError(`${fileName}:${record.line}: labels is missing, expected one for each word or token`);
      }
      return labels.filter((label) => label !== IGNORED_LABEL).map((label) => ({ label, line: record.line }));
    });
    if (words.length === 0) throw new DeftuneError(`${fileName}: every label is ${IGNORED_LABEL}, expected a class`);
    return { ...resolveLabels(words, fileName, known), labels: [] };
  },

  toExamples(record, _label, context): TokenExample[] {
    const given = record.labels?.map((label) => classOf(label, context)) ?? record.labelIds;
    checkIds(given ?? [], record.labels ? 'labels' : 'labelIds', context.info.numLabels, context.where, {
      ignored: IGNORED_LABEL,
      what: 'class',
    });
    if (record.inputIds) {
      const { inputIds } = encodeText(record, context);
      checkLength(given, record.inputIds.length, 'token id', context);
      const labelIds = given?.slice(0, inputIds.length);
      return [{ inputIds, labelIds, answerTokens: Array.from(inputIds, (_, token) => token) }];
    }
    return [fromWords(record, given, context)];
  },

  collate(examples: readonly TokenExample[]) {
    const batch = collate(examples);
    const labels = new Int32Array(batch.tokens).fill(IGNORED_LABEL);
    examples.forEach(({ labelIds }, index) => {
      if (labelIds) labels.set(labelIds, batch.cuSeqlens[index]);
    });
    const isLabelled = examples.some(({ labelIds }) => labelIds !== undefined);
    return { ...batch, labels: isLabelled ? labels : undefined, cuOutputs: batch.cuSeqlens };
  },

  smoothsLabels: () => true,

  /** Mean over the labelled tokens of the batch, as in transformers. */
  loss: (logits, { labels }, labelSmoothing = 0) =>
    crossEntropy(logits, Tensor.fromInts(logits.backend, Int32Array.from(labels ?? [])), labelSmoothing),

  lossWeight: ({ labels }) => Array.from(labels ?? []).filter((label) => label !== IGNORED_LABEL).length,

  outputs(logits, { size, labels, cuSeqlens }) {
    const values = logits.toFloats();
    const { cols } = logits;
    return Array.from({ length: size }, (_, index): HeadOutput => {
      const [start, end] = [cuSeqlens[index] as number, cuSeqlens[index + 1] as number];
      const output = { loss: 0, weight: 0, logits: values.slice(start * cols, end * cols), correct: 0 };
      for (let token = start; token < end; token++) {
        const label = labels?.[token] ?? IGNORED_LABEL;
        if (label === IGNORED_LABEL) continue;
        const scores = values.subarray(token * cols, (token + 1) * cols);
        output.loss += crossEntropyOf(scores, label);
        output.weight += 1;
        if (argmax(scores) === label) output.correct += 1;
      }
      return { ...output, loss: output.loss / output.weight };
    });
  },

  /** The likeliest label of each word with its probability; null where a word has no token, or was cut off. */
  predictions: (outputs, examples: readonly TokenExample[], info, options) =>
    outputs.map((output, index) => {
      const rows = rowsOf(output, info);
      const answers = (examples[index]?.answerTokens ?? []).map((token) =>
        token === undefined ? undefined : rows[token],
      );
      return {
        labels: answers.map((row) => (row ? info.labelNames[argmax(row)] : null)),
        scores: answers.map((row) => (row ? softmax(row)[argmax(row)] : null)),
        ...(options?.logits ? { logits: rows.map((row) => Array.from(row)) } : {}),
      };
    }),

  /** entityF1 for labels such as B-PER and I-PER, else tokenAccuracy. */
  defaultMetrics: ({ labelNames }) =>
    labelNames.some((name) => /^[BI]-/.test(name)) ? ['entityF1'] : ['tokenAccuracy'],

  score(metricName, outputs, examples, info) {
    const { predicted, labels } = labelledWords(outputs, examples, info);
    const names = (classes: readonly number[][]): string[][] =>
      classes.map((sequence) => sequence.map((index) => info.labelNames[index] ?? `LABEL_${index}`));
    const metrics: Readonly<Record<string, () => number>> = {
      tokenAccuracy: () => tokenAccuracy(predicted, labels),
      entityF1: () => entityScores(names(predicted), names(labels)).f1,
      entityPrecision: () => entityScores(names(predicted), names(labels)).precision,
      entityRecall: () => entityScores(names(predicted), names(labels)).recall,
    };
    const metric = Object.hasOwn(metrics, metricName) ? metrics[metricName] : undefined;
    if (metric) return metric();
    throw new DeftuneError(
      `metric ${showValue(metricName)} is not one of token classification, expected one of ${Object.keys(metrics).join(', ')}`,
    );
  },

  warnings(outputs, examples, info) {
    const { predicted, labels } = labelledWords(outputs, examples, info);
    if (new Set(labels.flat()).size < 2 || !isCollapsed(predicted.flat())) return [];
    return ['the predictions have collapsed to one class; try a smaller alpha (the weight of the density loss)'];
  },
};

function classOf(label: string | number, { info, where }: ExampleContext): number {
  if (typeof label === 'number') return label;
  const index = info.labelNames.indexOf(label);
  if (index >= 0) return index;
  throw new DeftuneError(`${where}: label is ${showValue(label)}, expected one of ${info.labelNames.join(', ')}`);
}

function checkLength(
  labels: readonly number[] | undefined,
  expected: number,
  what: string,
  { where }: ExampleContext,
): void {
  if (labels === undefined || labels.length === expected) return;
  throw new DeftuneError(`${where}: labels has ${labels.length} elements, expected ${expected}, one a ${what}`);
}

/** Words (of a plain text: what stands between white space) with their labels on their first tokens. */
function fromWords(record: DataRecord, labels: readonly number[] | undefined, context: ExampleContext): TokenExample {
  const { tokenizer, info, where, onTruncated } = context;
  if (!tokenizer) throw new DeftuneError(`${where}: words need a tokenizer, but the model's directory has none`);
  const words = record.words ?? (record.text ?? '').split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) throw new DeftuneError(`${where}: text is ${showValue(record.text)}, expected words`);
  checkLength(labels, words.length, 'word', context);
  const { inputIds, tokenTypeIds, wordIds, truncated } = encodeWords(tokenizer, words, info.maxLength);
  if (truncated) onTruncated();
  checkIds(inputIds, 'inputIds', info.vocabSize, where);
  const answerTokens = words.map((_, word) => {
    const token = wordIds.indexOf(word);
    return token < 0 ? undefined : token;
  });
  const labelIds = labels && new Int32Array(inputIds.length).fill(IGNORED_LABEL);
  answerTokens.forEach((token, word) => {
    if (labelIds && token !== undefined) labelIds[token] = labels[word] as number;
  });
  return { inputIds, tokenTypeIds, labelIds, answerTokens };
}

/** Scores of each token. */
function rowsOf({ logits }: HeadOutput, { numLabels }: HeadInfo): Float32Array[] {
  return Array.from({ length: logits.length / numLabels }, (_, token) =>
    logits.subarray(token * numLabels, (token + 1) * numLabels),
  );
}

/** Predicted and true classes of the labelled words of each example that has any. */
function labelledWords(
  outputs: readonly HeadOutput[],
  examples: readonly Example[],
  info: HeadInfo,
): { predicted: number[][]; labels: number[][] } {
  const predicted: number[][] = [];
  const labels: number[][] = [];
  outputs.forEach((output, index) => {
    const given = Array.from(examples[index]?.labelIds ?? []);
    const rows = rowsOf(output, info);
    const tokens = [...given.keys()].filter((token) => given[token] !== IGNORED_LABEL);
    if (tokens.length === 0) return;
    predicted.push(tokens.map((token) => argmax(rows[token] as Float32Array)));
    labels.push(tokens.map((token) => given[token] as number));
  });
  return { predicted, labels };
}
