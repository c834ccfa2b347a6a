import type { DataRecord } from './record.js';

/** The fields of a record that a file may have. */
export type FieldName = Exclude<keyof DataRecord, 'line'> | 'answerStart';

/** Accepted spellings of each field; the first one present counts. */
export type Columns = Readonly<Record<FieldName, readonly string[]>>;

/** The spellings that files have without a task that says otherwise. */
export const COLUMNS: Columns = {
  text: ['text', 'sentence', 'sentence1'],
  textPair: ['textPair', 'text_pair', 'sentence2'],
  inputIds: ['inputIds', 'input_ids'],
  image: ['image', 'img'],
  words: ['words', 'tokens'],
  question: ['question'],
  context: ['context'],
  label: ['label'],
  labels: ['labels', 'ner_tags', 'pos_tags'],
  labelIds: ['labelIds', 'label_ids'],
  target: ['target'],
  answers: ['answers'],
  answerStart: ['answerStart', 'answer_start'],
  id: ['id'],
  idx: ['idx'],
};

/** The default columns with those that a task has of its own. */
export function withColumns(own: Partial<Columns> | undefined): Columns {
  return own ? { ...COLUMNS, ...own } : COLUMNS;
}
