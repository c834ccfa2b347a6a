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
import { describeEvaluation, evaluationJson, otherSetsJson, type NamedEvaluation } from '../ui/describe-evaluation.js';
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
    const sets: NamedEvaluation[] = [];
    const warnings: string[] = [];
    let truncated = 0;
    let seconds = 0;
    for (const set of data.validSets) {
      const prepared = await prepare(set);
      const progress = createProgress(prepared.examples.length, {
        label: data.validSets.length > 1 ? `eval ${set.name}` : 'eval',
      });
      const started = performance.now();
      const evaluation = await evaluate(base, prepared.examples, {
        metricNames: options.metric === undefined ? data.metricNames : [options.metric],
        batchSize: options.batchSize,
        onProgress: (done) => {
          progress.update(done);
        },
      }).finally(() => {
        progress.stop();
      });
      seconds += (performance.now() - started) / 1000;
      sets.push({ name: set.name, evaluation });
      const where = data.validSets.length > 1 ? `${set.name}: ` : '';
      warnings.push(...evaluation.warnings.map((warning) => where + warning));
      truncated += prepared.truncated;
    }
    warnings.push(...truncationNotes(truncated, textLimit));
    for (const notice of notices) process.stderr.write(`note: ${notice}\n`);
    warn(warnings);
    const [{ evaluation: first }] = sets as [NamedEvaluation];
    print(
      {
        ...evaluationJson(first),
        examples: first.examples,
        truncated,
        seconds,
        // The model as it was run, packed weights included, and the most memory of the whole process.
        modelBytes: backend.liveBytes(),
        peakBytes: process.resourceUsage().maxRSS * 1024,
        ...otherSetsJson(sets.slice(1)),
        warnings,
      },
      sets.map(({ name, evaluation }) => describeEvaluation(evaluation, sets.length > 1 ? name : undefined)),
      options.json,
    );
  });
