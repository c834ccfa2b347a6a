import type { Example } from '../data/batching.js';
import { readRecords } from '../data/records-node.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Head, HeadInfo } from './head.js';
import { prepareExamples } from './prepare-examples.js';

/** What turns the records of a file into examples. */
export interface LoadDatasetOptions {
  tokenizer?: Tokenizer | undefined;
  /** The model that will read them: its head decides what a record is. */
  model: { head: Head; info: HeadInfo };
}

/** Reads labelled records (JSONL, CSV, TSV or Parquet) and tokenizes them. @throws DeftuneError naming file, line and field. */
export async function loadDataset(
  path: string,
  { tokenizer, model: { head, info } }: LoadDatasetOptions,
): Promise<Example[]> {
  const records = await readRecords(path);
  const { labels } = head.resolveLabels(records, path, info.labelNames);
  return prepareExamples(records, { head, info, tokenizer, fileName: path, labels }).examples;
}
