import type { Example } from '../data/batching.js';
import type { DataRecord } from '../data/record.js';
import type { ExampleContext, Head } from './head.js';

/** What turning records into examples needs to know. */
export interface PrepareOptions extends Pick<ExampleContext, 'tokenizer' | 'readImage' | 'task' | 'info'> {
  head: Head;
  /** File of the records, for messages. */
  fileName: string;
  /** Class indexes or targets, one a record. */
  labels?: readonly number[] | undefined;
}

/** Examples of a data set, and how many texts had to be cut. */
export interface PreparedExamples {
  examples: Example[];
  truncated: number;
}

/**
 * Tokenizes records (`inputIds` are taken as they are) as the head reads them.
 *
 * @throws DeftuneError naming file and line: text without a tokenizer, a token id outside the vocabulary, ...
 */
export function prepareExamples(
  records: readonly DataRecord[],
  { head, fileName, labels, ...context }: PrepareOptions,
): PreparedExamples {
  let truncated = 0;
  const onTruncated = (): void => {
    truncated += 1;
  };
  const examples = records.flatMap((record, index) =>
    head.toExamples(record, labels?.[index], { ...context, where: `${fileName}:${record.line}`, onTruncated }),
  );
  return { examples, truncated };
}
