import type { MetricName, TextMetricName } from '../../metrics/index.js';
import type { Columns, FieldName } from '../columns.js';

/** One of a task's validation sets. */
export interface ValidationSet {
  name: string;
  /** Names of its file without their ending, tried in this order. */
  files: readonly string[];
}

/** The fields that a prompt can be made of. */
export type PromptField = 'text' | 'textPair' | 'question' | 'context';

/** What is known about a benchmark task, so that a user need only name it and the folder it was downloaded to. */
export interface Task {
  name: string;
  /** What a model of it predicts. */
  kind: 'classification' | 'regression' | 'question-answering' | 'image-classification';
  /** Names of the training file without their ending, tried in this order. */
  train: readonly string[];
  /** At least one; the first is the one that a training run follows. */
  validation: readonly ValidationSet[];
  /** Spellings of the fields in all layouts of its files, where they are not the usual ones. */
  columns: Partial<Columns>;
  /** Fields that each record must have, unless it has inputIds. */
  required: readonly FieldName[];
  /** Columns of its tables where these have no header. */
  header?: readonly string[];
  /** Whether rows with too few or too many columns are left out. */
  skipIncompleteRows?: boolean;
  /** How T5's mixture of tasks puts the example into words: `prefix`, then `name: value` of each field; absent where it has none. */
  prompt?: { prefix: string; fields: readonly (readonly [name: string, field: PromptField])[] };
  /** Class names by index; empty where there are no classes, or the data name them. */
  labelNames: readonly string[];
  /** What it is judged by, the main one first. */
  metrics: readonly (MetricName | TextMetricName)[];
}
