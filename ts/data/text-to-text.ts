import type { ResolvedLabels } from './labels.js';
import type { DataRecord } from './record.js';
import { roundHalfToEven } from './round-half-to-even.js';
import type { Task } from './tasks/task.js';

/** What is needed of a task to put its records into words. */
export type TaskWords = Pick<Task, 'prompt' | 'kind' | 'labelNames'>;

/** How the records of a file are put into words: a task's, or with `task` undefined, by their labels. Classes without names are numbers. */
export function taskWords(task: Task | undefined, { names, regression }: Omit<ResolvedLabels, 'labels'>): TaskWords {
  const isUnnamed = names.every((name, index) => name === `LABEL_${index}`);
  return {
    ...(task?.prompt ? { prompt: task.prompt } : {}),
    kind: task?.kind ?? (regression ? 'regression' : 'classification'),
    labelNames: isUnnamed ? names.map((_, index) => String(index)) : names,
  };
}

/** An example in words. */
export interface TextToText {
  text: string;
  /** Absent without a label or answer. */
  target?: string;
}

/** How questions about a text are asked. */
const QUESTION: NonNullable<Task['prompt']> = {
  prefix: '',
  fields: [
    ['question', 'question'],
    ['context', 'context'],
  ],
};

/**
 * Puts a record of a task into words as T5 was trained on it: `sst2 sentence: …` with the target `positive`,
 * `question: … context: …` with the answer. A regression label becomes the nearest multiple of 0.2, `3.8`, rounded as TensorFlow does. WNLI, which T5 saw in
 * another form, goes like RTE.
 *
 * @param label the record's class index or regression target, as resolveLabels gives it
 * @returns for a task without a prompt the record's own text (or question and context) and target
 */
export function textToText(task: TaskWords, record: DataRecord, label?: number): TextToText {
  const { prompt = record.text === undefined && record.question !== undefined ? QUESTION : undefined } = task;
  const text = prompt
    ? prompt.prefix + prompt.fields.map(([name, field]) => `${name}: ${record[field] ?? ''}`).join(' ')
    : (record.text ?? '');
  const target = record.target ?? targetOf(task, record, label);
  return target === undefined ? { text } : { text, target };
}

function targetOf({ kind, labelNames }: TaskWords, record: DataRecord, label: number | undefined): string | undefined {
  if (kind === 'question-answering' || label === undefined) return record.answers?.[0]?.text;
  return kind === 'regression' ? (roundHalfToEven(label * 5) / 5).toFixed(1) : labelNames[label];
}
