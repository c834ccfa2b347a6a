import type { Example } from './batching.js';
import { resolveLabels } from './labels.js';
import { prepareExamples } from './prepare-examples.js';
import { readRecords } from './records-node.js';
import type { Tokenizer } from './tokenizer.js';

/** What turns the records of a file into examples. */
export interface LoadDatasetOptions {
  tokenizer?: Tokenizer | undefined;
  /** `model.info`: position limit, vocabulary and label names. */
  info: { maxLength: number; vocabSize: number; labelNames: readonly string[] };
}

/** Reads labelled records (JSONL, CSV or TSV) and tokenizes them. @throws DeftuneError naming file, line and field. */
export async function loadDataset(path: string, { tokenizer, info }: LoadDatasetOptions): Promise<Example[]> {
  const records = await readRecords(path);
  const { labels } = resolveLabels(records, path, info.labelNames);
  return prepareExamples(records, { ...info, tokenizer, fileName: path, labels }).examples;
}
