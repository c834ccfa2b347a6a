import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import { DeftuneError } from '../../error.js';
import { evaluate } from '../../train/evaluate.js';
import { loadData, type LabelledFile } from '../load-data.js';
import { openModel } from '../open-model.js';
import {
  addCommonOptions,
  addDataOptions,
  addModelOptions,
  integer,
  type CommonOptions,
  type DataOptions,
  type ModelPathOptions,
} from '../options.js';
import { print, truncationNotes, warn } from '../output.js';
import { describeDensity } from '../ui/describe-density.js';
import { formatMetric } from '../ui/format.js';
import { createProgress } from '../ui/progress.js';

interface EvalOptions extends CommonOptions, ModelPathOptions, DataOptions {
  metric?: string;
  batchSize: number;
}

/** `deftune eval`: metric, loss and density on labelled records. */
export const evalCommand = addDataOptions(addModelOptions(addCommonOptions(new Command('eval'))))
  .description('metric, loss and density of a model on labelled records')
  .option(
    '--metric <name>',
    "accuracy, f1, matthews, pearson, spearman, tokenAccuracy, perplexity, ... (default: the task's or the head's)",
  )
  .option('--batch-size <n>', 'sequences a batch', integer, 32)
  .action(async (options: EvalOptions) => {
    const data = await loadData(options, 'valid');
    const backend = await createBackend(options);
    const notices: string[] = [];
    const { base, prepare, textLimit } = await openModel(options, backend, data.head, {
      onNotice: (notice) => notices.push(notice),
    });
    const file = data.valid as LabelledFile;
    const { head, info } = base;
    if (head.hasLabels && (data.regression ? info.numLabels > 1 : data.labelNames.length > info.numLabels)) {
      const found = data.regression ? 'a fraction' : data.labelNames.length - 1;
      throw new DeftuneError(
        `${file.fileName}: label is ${found}, expected a class of the model, 0 to ${info.numLabels - 1}`,
      );
    }
    const { examples, truncated } = await prepare(file);
    const progress = createProgress(examples.length, { label: 'eval' });
    const result = await evaluate(base, examples, {
      metricNames: options.metric === undefined ? data.metricNames : [options.metric],
      batchSize: options.batchSize,
      onProgress: (done) => {
        progress.update(done);
      },
    }).finally(() => {
      progress.stop();
    });
    const { metricName, metric, metrics, loss, layerDensity, warnings } = result;
    const { density, encoderDensity, decoderDensity } = result;
    warnings.push(...truncationNotes(truncated, textLimit));
    for (const notice of notices) process.stderr.write(`note: ${notice}\n`);
    warn(warnings);
    print(
      {
        ...metrics,
        loss,
        density,
        encoderDensity,
        decoderDensity,
        layerDensity,
        examples: result.examples,
        truncated,
        warnings,
      },
      [
        `${metricName} ${formatMetric(metric)}, loss ${loss.toFixed(4)}, ${describeDensity(result)} on ${result.examples} examples`,
      ],
      options.json,
    );
  });
