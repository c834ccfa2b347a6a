import { resolve } from 'node:path';
import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { prepareExamples } from '../../data/prepare-examples.js';
import { readRecords } from '../../data/records-node.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFile, writeFileAtomic } from '../../io/files-node.js';
import { argmax, predict as predictExamples, softmax } from '../../train/evaluate.js';
import { openModel } from '../open-model.js';
import { addCommonOptions, addModelOptions, integer, type CommonOptions, type ModelPathOptions } from '../options.js';
import { print, warn } from '../output.js';
import { formatPercent } from '../ui/format.js';
import { createProgress } from '../ui/progress.js';

interface PredictOptions extends CommonOptions, ModelPathOptions {
  input: string;
  output: string;
  logits?: boolean;
  batchSize: number;
}

/** `deftune predict`: a label and its score for each record. */
export const predict = addModelOptions(addCommonOptions(new Command('predict')))
  .description('label records: one JSON line each, in their order')
  .requiredOption('--input <file>', 'records with text (and textPair) or inputIds')
  .requiredOption('--output <file>', 'JSONL file to write: {"label", "score"}')
  .option('--logits', 'write the logits as well, in full precision')
  .option('--batch-size <n>', 'sequences a batch', integer, 32)
  .action(async (options: PredictOptions) => {
    checkOutputFile(options.output);
    if (resolve(options.output) === resolve(options.input)) {
      throw new DeftuneError(
        `--output is ${options.output}, the input file; expected another, for the records to stay`,
      );
    }
    const records = await readRecords(options.input);
    const backend = await createBackend(options);
    const { base, tokenizer } = await openModel(options, backend, {
      onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
    });
    const { examples, truncated } = prepareExamples(records, { ...base.info, tokenizer, fileName: options.input });
    const progress = createProgress(examples.length, { label: 'predict' });
    const { logits, density } = await predictExamples(base, examples, {
      batchSize: options.batchSize,
      onProgress: (done) => {
        progress.update(done);
      },
    }).finally(() => {
      progress.stop();
    });
    const lines = logits.map((row) => {
      const answer = answerOf(row, base.info.labelNames);
      return JSON.stringify(options.logits ? { ...answer, logits: Array.from(row) } : answer);
    });
    writeFileAtomic(options.output, `${lines.join('\n')}\n`);
    if (truncated > 0) warn([`${truncated} texts were longer than ${base.info.maxLength} tokens and were cut`]);
    print(
      { output: options.output, examples: examples.length, truncated, density },
      [`${examples.length} predictions: ${options.output} (density ${formatPercent(density, 2)})`],
      options.json,
    );
  });

/** The likeliest label with its probability; for regression the value as the score. */
function answerOf(row: Float32Array, labelNames: readonly string[]): { label: string; score: number } {
  if (row.length === 1) return { label: labelNames[0] ?? 'LABEL_0', score: row[0] ?? Number.NaN };
  const best = argmax(row);
  return { label: labelNames[best] ?? `LABEL_${best}`, score: softmax(row)[best] ?? Number.NaN };
}
