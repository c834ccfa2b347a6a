import { join } from 'node:path';
import Table from 'cli-table3';
import { Command } from 'commander';
import { createBackend } from '../../backend/create-backend-node.js';
import type { Example } from '../../data/batching.js';
import { readRecordFiles } from '../../data/records-node.js';
import { ThresholdCalibration, thresholdsOf, type ChosenThreshold } from '../../density/threshold-calibration.js';
import { writeActivationThresholds } from '../../density/threshold-files-node.js';
import { DeftuneError } from '../../error.js';
import type { Head } from '../../heads/head.js';
import { checkOutputFile } from '../../io/files-node.js';
import { activationThresholds } from '../../nn/activation-thresholds.js';
import { predict } from '../../train/evaluate.js';
import { thresholdsWithinBudget, type ThresholdsWithinBudget } from '../../train/thresholds-within-budget.js';
import { chooseHead } from '../choose-head.js';
import { loadData } from '../load-data.js';
import { openModel, type FileToPrepare, type OpenedModel } from '../open-model.js';
import {
  addCommonOptions,
  addDataOptions,
  addModelOptions,
  integer,
  number,
  type CommonOptions,
  type DataOptions,
  type ModelPathOptions,
} from '../options.js';
import { print, truncationNotes, warn } from '../output.js';
import { formatMetric, formatNumber, formatPercent } from '../ui/format.js';
import { createProgress } from '../ui/progress.js';

interface CalibrateOptions extends CommonOptions, ModelPathOptions, DataOptions {
  input?: string;
  maxError?: number;
  targetDensity?: number;
  maxMetricDrop?: number;
  examples: number;
  batchSize: number;
  out?: string;
}

/** File that thresholds are written to where nothing else is said. */
const FILE = 'activation_thresholds.json';

/** `deftune calibrate`: a threshold for each MLP's activation. */
export const calibrate = addDataOptions(addModelOptions(addCommonOptions(new Command('calibrate'))))
  .description('find thresholds below which MLP activations may be zeros, for --activation-thresholds')
  .option('--input <file>', 'records without labels, in place of training data')
  .option('--max-error <share>', "largest relative error of each MLP's output, 0 to 1 (default: 0.1)", number)
  .option('--target-density <share>', 'mean density to reach, 0 to 1, instead of --max-error', number)
  .option(
    '--max-metric-drop <points>',
    'largest fall of the metric on the calibration records (needs labels), instead of --max-error',
    number,
  )
  .option('--examples <n>', 'records to calibrate on, from all over the data', integer, 256)
  .option('--batch-size <n>', 'sequences a batch', integer, 32)
  .option('--out <file>', `where the thresholds are written (default: ${FILE} in the adapter's folder, else here)`)
  .action(async (options: CalibrateOptions) => {
    const out = options.out ?? (options.adapter === undefined ? FILE : join(options.adapter, FILE));
    checkOutputFile(out);
    checkGoals(options);
    const { file, head, metricNames } = await readFile(options);
    const backend = await createBackend(options);
    const { base, prepare, textLimit } = await openModel(options, backend, head, {
      onNotice: (notice) => process.stderr.write(`note: ${notice}\n`),
    });
    const own = activationThresholds(base);
    const { examples, truncated } = await prepare(file);
    const calibration = new ThresholdCalibration();
    const { tokens } = await measure(base, examples, calibration, options.batchSize);
    const { targetDensity, maxMetricDrop, maxError = 0.1 } = options;
    let found: ThresholdsWithinBudget | undefined;
    if (maxMetricDrop !== undefined) {
      const { batchSize } = options;
      found = await thresholdsWithinBudget(base, calibration, examples, maxMetricDrop, { metricNames, batchSize });
    }
    const chosen = found?.chosen ?? calibration.choose(targetDensity === undefined ? { maxError } : { targetDensity });
    const thresholds = thresholdsOf(chosen, own);
    const summary = {
      goal:
        maxMetricDrop === undefined
          ? targetDensity === undefined
            ? { maxError }
            : { targetDensity }
          : { maxMetricDrop },
      density: mean(chosen.map(({ density }) => density)),
      densityBefore: mean(chosen.map(({ densityBefore }) => densityBefore)),
      ...(found ? budgetJson(found) : {}),
      layers: chosen.map((layer) => ({ ...layer, threshold: thresholds[layer.name] })),
      examples: examples.length,
      tokens,
      truncated,
    };
    writeActivationThresholds(out, thresholds, summary);
    warn(truncationNotes(truncated, textLimit));
    print(
      { out, thresholds, ...summary },
      [table(chosen), ...(found ? [describeBudget(found)] : []), `thresholds: ${out}`],
      options.json,
    );
  });

function checkGoals({ maxError, targetDensity, maxMetricDrop, input, examples }: CalibrateOptions): void {
  const given = Object.entries({
    '--max-error': maxError,
    '--target-density': targetDensity,
    '--max-metric-drop': maxMetricDrop,
  }).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    throw new DeftuneError(`${given.map(([name]) => name).join(' and ')} are given, expected one of them`);
  }
  for (const [name, value] of given) {
    const [largest, unit] = name === '--max-metric-drop' ? [100, ''] : [1, ''];
    if ((value as number) >= 0 && (value as number) <= largest) continue;
    throw new DeftuneError(`${name} is ${value}, expected a number from 0 to ${largest}${unit}`);
  }
  if (maxMetricDrop !== undefined && input !== undefined) {
    throw new DeftuneError(
      '--max-metric-drop needs labels, expected --task and --data, or --train-file, in place of --input',
    );
  }
  if (examples === 0) throw new DeftuneError('--examples is 0, expected at least 1');
}

/** The records that are calibrated on. */
async function readFile(
  options: CalibrateOptions,
): Promise<{ file: FileToPrepare; head: Head; metricNames: readonly string[] }> {
  const { input, examples } = options;
  if (input !== undefined) {
    if ((options.task ?? options.trainFile ?? options.validFile) !== undefined) {
      throw new DeftuneError('--input is given with other data, expected one of both');
    }
    return { file: sample(await readRecordFiles([input]), examples), head: chooseHead(options), metricNames: [] };
  }
  const { train, head, metricNames } = await loadData(options, 'train');
  return { file: sample(train as FileToPrepare, examples), head, metricNames };
}

/** As many records, at even distances from the first on: files may be sorted. */
function sample<T extends FileToPrepare>(file: T, count: number): T {
  const { records, labels } = file;
  if (records.length <= count) return file;
  const places = Array.from({ length: count }, (_, index) => Math.floor((index * records.length) / count));
  const pick = <V>(values: readonly V[]): V[] => places.map((place) => values[place] as V);
  return { ...file, records: pick(records), ...(labels ? { labels: pick(labels) } : {}) };
}

async function measure(
  model: OpenedModel['base'],
  examples: readonly Example[],
  calibration: ThresholdCalibration,
  batchSize: number,
): Promise<{ tokens: number }> {
  const progress = createProgress(examples.length, { label: 'calibrate' });
  return predict(model, examples, {
    batchSize,
    observe: calibration.add,
    onProgress: (done) => {
      progress.update(done);
    },
  }).finally(() => {
    progress.stop();
  });
}

function budgetJson({ maxError, before, after }: ThresholdsWithinBudget): object {
  return { maxError, metricName: before.metricName, metricBefore: before.metric, metric: after.metric };
}

function describeBudget({ maxError, before, after }: ThresholdsWithinBudget): string {
  return `${before.metricName} ${formatMetric(before.metric)} without thresholds, ${formatMetric(after.metric)} with those of error ${formatNumber(maxError)}`;
}

function table(chosen: readonly ChosenThreshold[]): string {
  const drawn = new Table({
    head: ['layer', 'threshold', 'error %', 'density before %', 'density %'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { name, threshold, error, densityBefore, density } of chosen) {
    drawn.push([
      name,
      formatNumber(threshold),
      ...[error, densityBefore, density].map((share) => formatPercent(share, 2)),
    ]);
  }
  const [before, after] = [
    mean(chosen.map((layer) => layer.densityBefore)),
    mean(chosen.map((layer) => layer.density)),
  ];
  drawn.push(['mean', '', '', formatPercent(before, 2), formatPercent(after, 2)]);
  return drawn.toString();
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
