import { join } from 'node:path';
import type { ResolvedLabels } from '../data/labels.js';
import { readRecordFiles, type RecordFile } from '../data/records-node.js';
import { findTaskFiles } from '../data/task-files-node.js';
import { recordOptions } from '../data/tasks/record-options.js';
import { getTask } from '../data/tasks/index.js';
import { taskWords, type TaskWords } from '../data/text-to-text.js';
import { DeftuneError } from '../error.js';
import type { Head } from '../heads/head.js';
import { fileExists, readJson } from '../io/files-node.js';
import { showValue } from '../io/show-value.js';
import { readAdapter } from '../peft/peft-files-node.js';
import { chooseHead } from './choose-head.js';
import type { DataOptions, ModelPathOptions } from './options.js';

type KnownLabels = Record<string, string> | readonly string[] | ResolvedLabels | undefined;

/** One file of labelled records. */
export interface LabelledFile extends RecordFile {
  labels: number[];
  /** How a head that answers in words puts the records into words. */
  task: TaskWords;
}

/** Labelled data of a run. */
export interface LoadedData {
  train: LabelledFile | undefined;
  /** The first validation set. */
  valid: LabelledFile | undefined;
  /** All validation sets by name; most data have one. */
  validSets: (LabelledFile & { name: string })[];
  head: Head;
  labelNames: string[];
  regression: boolean;
  /** The main metric of the task. */
  metricName: string | undefined;
  /** All of the task's metrics, the main one first. */
  metricNames: readonly string[];
  description: string;
}

/**
 * Reads the files that --task/--data or --train-file/--valid-file name, and resolves their labels: against the adapter's, the task's
 * or the model's names, else those of the training file.
 *
 * @param needs which files the command cannot do without
 */
export async function loadData(options: DataOptions & ModelPathOptions, needs: 'train' | 'valid'): Promise<LoadedData> {
  const task = options.task === undefined ? undefined : getTask(options.task);
  if (task && options.data === undefined)
    throw new DeftuneError(`--task ${task.name} needs --data, the folder of its files`);
  if (!task && options.data !== undefined)
    throw new DeftuneError('--data needs --task, the name of the benchmark task');
  if (task && (options.trainFile ?? options.validFile) !== undefined)
    throw new DeftuneError(`--task ${task.name} names its own files, expected no --train-file or --valid-file with it`);
  const files = task
    ? findTaskFiles(task, options.data as string, needs === 'train' ? ['train', 'validation'] : ['validation'])
    : {
        train: options.trainFile === undefined ? [] : [options.trainFile],
        validation: options.validFile === undefined ? [] : [{ name: 'validation', paths: [options.validFile] }],
      };
  if ((needs === 'train' ? files.train : files.validation).length === 0)
    throw new DeftuneError(`no data given, expected --${needs}-file FILE, or --task NAME --data DIR`);

  const reading = {
    ...(task ? recordOptions(task) : {}),
    onNotice: (notice: string) => process.stderr.write(`note: ${notice}\n`),
  };
  const trainFile = needs === 'train' ? await readRecordFiles(files.train, reading) : undefined;
  const validFiles = [];
  for (const { name, paths } of files.validation) {
    validFiles.push({ name, ...(await readRecordFiles(paths, reading)) });
  }

  const head = chooseHead(options, (trainFile ?? validFiles[0])?.records);
  const taskLabels = task?.labelNames.length ? task.labelNames : undefined;
  const candidates = [adapterLabels(options.adapter), taskLabels, modelLabels(options.model)];
  const isNamed = (names: KnownLabels): boolean =>
    names !== undefined && Object.values(names).some((name, index) => name !== `LABEL_${index}`);
  let known: KnownLabels = candidates.find(isNamed) ?? candidates.find((names) => names !== undefined);
  // A config without names means two classes, as in transformers; only training may give the classes of a head names or a number.
  if (needs === 'valid') known ??= { 0: 'LABEL_0', 1: 'LABEL_1' };
  if (needs === 'valid' && known !== undefined && Object.keys(known).length > 1) known = Object.values(known);
  // Not each of its files has a label with a fraction.
  if (task?.kind === 'regression') known = { labels: [], names: [], regression: true };
  let resolved: ResolvedLabels | undefined;
  const resolve = <F extends RecordFile>(file: F): F & LabelledFile => {
    const first = resolved === undefined;
    const result = head.resolveLabels(file.records, file.fileName, known);
    if (first) {
      resolved = result;
      known = result;
    }
    return { ...file, labels: result.labels, task: taskWords(task, result) };
  };
  const train = trainFile && resolve(trainFile);
  const validSets = validFiles.map(resolve);
  const { names, regression } = resolved as unknown as ResolvedLabels;
  if (head.hasLabels && train && !regression && names.length < 2) {
    throw new DeftuneError(`${train.fileName}: every label is ${showValue(names[0])}, expected at least 2 classes`);
  }
  const metricNames = task?.metrics ?? [];
  return {
    train,
    valid: validSets[0],
    validSets,
    head,
    labelNames: names,
    regression,
    metricName: metricNames[0],
    metricNames,
    description: task ? task.name : (options.trainFile ?? options.validFile ?? ''),
  };
}

/** The names beside the adapter's weights; for an adapter of another library, as many default ones as its head has rows. */
function adapterLabels(adapter: string | undefined): Record<string, string> | undefined {
  if (adapter === undefined) return undefined;
  const { sidecar, numLabels } = readAdapter(adapter);
  const names = sidecar.labelNames ?? Array.from({ length: numLabels ?? 0 }, (_, index) => `LABEL_${index}`);
  return names.length > 0 ? Object.fromEntries(names.map((name, index) => [index, name])) : undefined;
}

function modelLabels(directory: string): Record<string, string> | undefined {
  const path = join(directory, 'config.json');
  if (!fileExists(path)) return undefined;
  const config = readJson(path) as { id2label?: Record<string, string> } | null;
  return config?.id2label && typeof config.id2label === 'object' ? config.id2label : undefined;
}
