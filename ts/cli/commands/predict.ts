import { resolve } from 'node:path';
import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { readRecords } from '../../data/records-node.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFile, writeFileAtomic } from '../../io/files-node.js';
import { predict as predictExamples } from '../../train/evaluate.js';
import { chooseHead } from '../choose-head.js';
import { openModel } from '../open-model.js';
import { addCommonOptions, addModelOptions, integer, type CommonOptions, type ModelPathOptions } from '../options.js';
import { print, truncationNotes, warn } from '../output.js';
import { describeDensity } from '../ui/describe-density.js';
import { describeSkipped } from '../ui/describe-gates.js';
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
  .requiredOption('--output <file>', 'JSONL file to write: {"label", "score"}, {"loss"} or what the head answers with')
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
    const { base, prepare, textLimit } = await openModel(options, backend, chooseHead(options), {
      onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
    });
    const { examples, truncated } = await prepare({ records, fileName: options.input });
    const progress = createProgress(examples.length, { label: 'predict' });
    const { outputs, density, encoderDensity, decoderDensity, layerDensity } = await predictExamples(base, examples, {
      batchSize: options.batchSize,
      onProgress: (done) => {
        progress.update(done);
      },
    }).finally(() => {
      progress.stop();
    });
    const lines = base.head.predictions(outputs, examples, base.info, { logits: options.logits });
    writeFileAtomic(options.output, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    warn(truncationNotes(truncated, textLimit));
    print(
      { output: options.output, examples: lines.length, truncated, density, encoderDensity, decoderDensity },
      [
        `${lines.length} predictions: ${options.output} (${[describeDensity({ density, encoderDensity, decoderDensity }), describeSkipped(layerDensity) ?? []].flat().join(', ')})`,
      ],
      options.json,
    );
  });
