import type { DataRecord } from './record.js';
import { roundHalfToEven } from './round-half-to-even.js';
import type { Task } from './tasks/task.js';

/** An example in words. */
export interface TextToText {
  text: string;
  /** Absent without a label or answer. */
  target?: string;
}

/**
 * Puts a record of a task into words as T5 was trained on it: `sst2 sentence: …` with the target `positive`,
 * `question: … context: …` with the answer. A regression label becomes the nearest multiple of 0.2, `3.8`, rounded as TensorFlow does. WNLI, which T5 saw in
 * another form, goes like RTE.
 *
 * @param label the record's class index or regression target, as resolveLabels gives it
 * @returns the record's own text and target for a task without a prompt
 */
export function textToText(
  task: Pick<Task, 'prompt' | 'kind' | 'labelNames'>,
  record: DataRecord,
  label?: number,
): TextToText {
  const { prompt } = task;
  const text = prompt
    ? prompt.prefix + prompt.fields.map(([name, field]) => `${name}: ${record[field] ?? ''}`).join(' ')
    : (record.text ?? '');
  const target = record.target ?? targetOf(task, record, label);
  return target === undefined ? { text } : { text, target };
}

function targetOf(
  { kind, labelNames }: Pick<Task, 'kind' | 'labelNames'>,
  record: DataRecord,
  label: number | undefined,
): string | undefined {
  if (kind === 'question-answering') return record.answers?.[0]?.text;
  if (label === undefined) return undefined;
  return kind === 'regression' ? (roundHalfToEven(label * 5) / 5).toFixed(1) : labelNames[label];
}
