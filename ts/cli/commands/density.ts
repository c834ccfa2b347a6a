import { Command } from 'commander';
import Table from 'cli-table3';
import { createBackend } from '../../backend/create-backend-node.js';
import { readRecordFiles, type RecordFile } from '../../data/records-node.js';
import { findTaskFiles } from '../../data/task-files-node.js';
import { recordOptions } from '../../data/tasks/record-options.js';
import { getTask, type Task } from '../../data/tasks/index.js';
import { taskWords } from '../../data/text-to-text.js';
import { DeftuneError } from '../../error.js';
import { checkOutputFolder, writeFilesAtomic } from '../../io/files-node.js';
import type { Head } from '../../heads/head.js';
import { predict } from '../../train/evaluate.js';
import { chooseHead } from '../choose-head.js';
import { openModel, type FileToPrepare } from '../open-model.js';
import {
  addCommonOptions,
  addModelOptions,
  integer,
  numbers,
  type CommonOptions,
  type DataOptions,
  type ModelPathOptions,
} from '../options.js';
import { print, truncationNotes, warn } from '../output.js';
import { describeDensity } from '../ui/describe-density.js';
import { describeSkipped } from '../ui/describe-gates.js';
import { DensityDetail } from '../ui/density-detail.js';
import { formatPercent } from '../ui/format.js';
import { createProgress } from '../ui/progress.js';

interface DensityOptions extends CommonOptions, ModelPathOptions, Pick<DataOptions, 'task' | 'data'> {
  input?: string;
  batchSize: number;
  detail?: boolean;
  thresholds: number[];
  csv?: string;
}

/** `deftune density`: exact non-zeros of the MLP activations by layer. */
export const density = addModelOptions(addCommonOptions(new Command('density')))
  .description('share of exact non-zeros in the MLP activations, by layer, over real tokens')
  .option('--input <file>', 'records: JSONL, CSV, TSV, Parquet, JSON, or a folder of images (labels are not needed)')
  .option('--task <name>', 'benchmark task, with --data')
  .option('--data <dir>', "folder of the task's files; its validation file is read")
  .option('--batch-size <n>', 'sequences a batch', integer, 32)
  .option('--detail', 'also by threshold, position, neuron and kind of token, and what zero-skip saves')
  .option('--thresholds <list>', 'magnitudes for --detail, by comma', numbers, [0.01, 0.1])
  .option('--csv <dir>', 'write every number of --detail there: layers.csv, positions.csv, neurons.csv')
  .action(async (options: DensityOptions) => {
    if (options.csv !== undefined) checkOutputFolder(options.csv);
    const { task, ...file } = await readInput(options);
    const backend = await createBackend(options);
    const head = chooseHead(options);
    const { base, prepare, textLimit, tokenizer } = await openModel(options, backend, head);
    const { examples, truncated } = await prepare(head.hasLabels ? file : inWords(head, file, task));
    const detail =
      options.detail || options.csv !== undefined ? new DensityDetail(base, tokenizer, options.thresholds) : undefined;
    const progress = createProgress(examples.length, { label: 'density' });
    const result = await predict(base, examples, {
      batchSize: options.batchSize,
      observe: detail?.observe,
      onProgress: (done) => {
        progress.update(done);
      },
    }).finally(() => {
      progress.stop();
    });
    const table = new Table({
      head: ['layer', 'density %'],
      colAligns: ['left', 'right'],
      style: { head: [], border: [] },
    });
    for (const layer of result.layerDensity)
      table.push([layer.name, layer.skipped ? 'skipped' : formatPercent(layer.density, 2)]);
    const { density: mean, encoderDensity, decoderDensity, layerDensity, tokens } = result;
    if (encoderDensity !== undefined) table.push(['encoder', formatPercent(encoderDensity, 2)]);
    if (decoderDensity !== undefined) table.push(['decoder', formatPercent(decoderDensity, 2)]);
    table.push(['mean', formatPercent(mean, 2)]);
    if (detail && options.csv !== undefined) writeFilesAtomic(options.csv, detail.tables());
    warn(truncationNotes(truncated, textLimit));
    print(
      {
        ...{
          density: mean,
          encoderDensity,
          decoderDensity,
          layerDensity,
          examples: examples.length,
          tokens,
          truncated,
        },
        detail: detail?.json(),
      },
      [
        ...(detail ? [detail.describe(), `mean ${describeDensity(result)}`] : [table.toString()]),
        ...[describeSkipped(layerDensity) ?? []].flat(),
      ],
      options.json,
    );
  });

/** A decoder has to be given what it is to answer. */
function inWords(head: Head, file: RecordFile, task: Task | undefined): FileToPrepare {
  const known = task?.labelNames.length ? task.labelNames : undefined;
  const resolved = head.resolveLabels(file.records, file.fileName, known);
  return { ...file, labels: resolved.labels, task: taskWords(task, resolved) };
}

async function readInput({ input, task: name, data }: DensityOptions): Promise<RecordFile & { task?: Task }> {
  if (input !== undefined) return readRecordFiles([input]);
  if (name === undefined || data === undefined)
    throw new DeftuneError('no data given, expected --input FILE, or --task NAME --data DIR');
  const task = getTask(name);
  const { validation } = findTaskFiles(task, data, ['validation']);
  return { ...(await readRecordFiles(validation[0]?.paths ?? [], recordOptions(task))), task };
}
