import type { Example } from '../data/batching.js';
import type { TaskWords } from '../data/text-to-text.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { getMetric, METRICS, TEXT_METRICS } from '../metrics/index.js';
import { collapseWarnings } from './collapse-warnings.js';
import type { HeadOutput } from './head.js';

/** What a written text is compared with. */
export interface AnswerKey {
  kind: TaskWords['kind'];
  /** Correct texts, at least one. */
  references: readonly string[];
  /** Texts of the classes, by index. */
  classes: readonly string[];
  tokenizer: Tokenizer;
}

/** An example whose answer is a text. */
export interface TextExample extends Example {
  answer?: AnswerKey | undefined;
}

/** Tokens written for an answer to a question, which may be longer than any correct one. */
const LONGEST_ANSWER = 32;

const isTextMetric = (name: string): name is keyof typeof TEXT_METRICS => Object.hasOwn(TEXT_METRICS, name);
const isMetric = (name: string): boolean => Object.hasOwn(METRICS, name);

/** Whether a metric compares written texts, and there are texts to compare them with. */
export function comparesTexts(metricName: string, examples: readonly TextExample[]): boolean {
  return (isTextMetric(metricName) || isMetric(metricName)) && examples.every(({ answer }) => answer !== undefined);
}

/** Most tokens to write for each example: what is longer than every target is wrong, but may still have some of an answer's words. */
export function tokensToGenerate(metricNames: readonly string[], examples: readonly TextExample[]): number | undefined {
  const wanted = metricNames.filter((name) => comparesTexts(name, examples));
  if (wanted.length === 0) return undefined;
  const longest = examples.reduce((most, { labelIds }) => Math.max(most, labelIds?.length ?? 0), 0);
  return Math.max(longest + 1, wanted.some(isTextMetric) ? LONGEST_ANSWER : 0);
}

/** The metrics that examples are usually judged by; undefined where they have no texts to compare with. */
export function usualMetrics(examples: readonly TextExample[]): readonly string[] | undefined {
  const answer = examples.every((example) => example.answer) ? examples[0]?.answer : undefined;
  if (answer?.kind === 'question-answering') return ['answerF1', 'exactMatch'];
  if (answer?.kind === 'regression') return ['pearson', 'spearman'];
  return answer && answer.classes.length > 0 ? ['accuracy'] : undefined;
}

/** Scores written texts: by their words, or by the class or number that they name. */
export function scoreTexts(
  metricName: string,
  outputs: readonly HeadOutput[],
  examples: readonly TextExample[],
): number {
  if (isTextMetric(metricName)) {
    const references = examples.map(({ answer }) => answer?.references ?? []);
    return TEXT_METRICS[metricName](outputs.map(textOf(examples)), references);
  }
  return getMetric(metricName)(valuesOf(outputs, examples), labelsOf(examples));
}

/** What a reader must know of written classes. */
export function textWarnings(outputs: readonly HeadOutput[], examples: readonly TextExample[]): string[] {
  const isWritten = outputs.every(({ generatedIds }) => generatedIds !== undefined);
  const areClasses = examples.every(({ answer }) => answer && answer.classes.length > 0);
  return isWritten && areClasses ? collapseWarnings(valuesOf(outputs, examples), labelsOf(examples)) : [];
}

const textOf =
  (examples: readonly TextExample[]) =>
  ({ generatedIds = [] }: HeadOutput, index: number): string =>
    examples[index]?.answer?.tokenizer.decode(generatedIds, { skipSpecialTokens: true }).trim() ?? '';

/** The class or number that each text names; -1 where it names none, as in T5's own evaluation. */
function valuesOf(outputs: readonly HeadOutput[], examples: readonly TextExample[]): number[] {
  return outputs.map(textOf(examples)).map((text, index) => {
    const answer = examples[index]?.answer;
    if (answer?.kind !== 'regression') return answer?.classes.indexOf(text) ?? -1;
    return text !== '' && Number.isFinite(Number(text)) ? Number(text) : -1;
  });
}

function labelsOf(examples: readonly TextExample[]): number[] {
  return examples.map(({ label, answer }) => label ?? answer?.classes.indexOf(answer.references[0] ?? '') ?? -1);
}
