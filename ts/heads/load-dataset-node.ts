import type { Example } from '../data/batching.js';
import { readRecords } from '../data/records-node.js';
import { recordOptions } from '../data/tasks/record-options.js';
import { getTask } from '../data/tasks/index.js';
import { taskWords } from '../data/text-to-text.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Head, HeadInfo } from './head.js';
import { prepareExamples } from './prepare-examples.js';

/** What turns the records of a file into examples. */
export interface LoadDatasetOptions {
  tokenizer?: Tokenizer | undefined;
  /** The model that will read them: its head decides what a record is. */
  model: { head: Head; info: HeadInfo };
  /** Name of the benchmark task that the records are of: how its columns are called, and how T5 puts them into words. */
  task?: string | undefined;
}

/** Reads labelled records (JSONL, CSV, TSV or Parquet) and tokenizes them. @throws DeftuneError naming file, line and field. */
export async function loadDataset(
  path: string,
  { tokenizer, model: { head, info }, task: taskName }: LoadDatasetOptions,
): Promise<Example[]> {
  const task = taskName === undefined ? undefined : getTask(taskName);
  const records = await readRecords(path, task ? recordOptions(task) : {});
  const known = info.labelNames.length > 0 ? info.labelNames : task?.labelNames.length ? task.labelNames : undefined;
  const resolved = head.resolveLabels(records, path, known);
  const { labels } = resolved;
  const words = taskWords(task, resolved);
  return prepareExamples(records, { head, info, tokenizer, fileName: path, labels, task: words }).examples;
}
