import { join } from 'node:path';
import { resolveLabels, type ResolvedLabels } from '../data/labels.js';
import type { TextRecord } from '../data/record.js';
import { readRecords } from '../data/records-node.js';
import { getTask } from '../data/tasks/index.js';
import { DeftuneError } from '../error.js';
import { fileExists, readJson } from '../io/files-node.js';
import { showValue } from '../io/show-value.js';
import { readAdapter } from '../peft/peft-files-node.js';
import type { DataOptions, ModelPathOptions } from './options.js';

type KnownLabels = Record<string, string> | readonly string[] | ResolvedLabels | undefined;

/** One file of labelled records. */
export interface LabelledFile {
  fileName: string;
  records: TextRecord[];
  labels: number[];
}

/** Labelled data of a run. */
export interface LoadedData {
  train: LabelledFile | undefined;
  valid: LabelledFile | undefined;
  labelNames: string[];
  regression: boolean;
  metricName: string | undefined;
  description: string;
}

/**
 * Reads the files that --task/--data or --train-file/--valid-file name, and resolves their labels: against the adapter's, the task's
 * or the model's names, else those of the training file.
 *
 * @param needs which files the command cannot do without
 */
export function loadData(options: DataOptions & ModelPathOptions, needs: 'train' | 'valid'): LoadedData {
  const task = options.task === undefined ? undefined : getTask(options.task);
  if (task && options.data === undefined)
    throw new DeftuneError(`--task ${task.name} needs --data, the folder of its files`);
  if (!task && options.data !== undefined)
    throw new DeftuneError('--data needs --task, the name of the benchmark task');
  if (task && (options.trainFile ?? options.validFile) !== undefined)
    throw new DeftuneError(`--task ${task.name} names its own files, expected no --train-file or --valid-file with it`);
  const files = task ? task.files(options.data as string) : { train: options.trainFile, valid: options.validFile };
  const needed = files[needs];
  if (needed === undefined)
    throw new DeftuneError(`no data given, expected --${needs}-file FILE, or --task NAME --data DIR`);

  const read = (fileName: string | undefined): { fileName: string; records: TextRecord[] } | undefined =>
    fileName === undefined ? undefined : { fileName, records: readRecords(fileName) };
  const trainFile = needs === 'train' ? read(files.train) : undefined;
  const validFile = read(files.valid);

  const candidates = [adapterLabels(options.adapter), task?.labelNames, modelLabels(options.model)];
  const isNamed = (names: KnownLabels): boolean =>
    names !== undefined && Object.values(names).some((name, index) => name !== `LABEL_${index}`);
  let known: KnownLabels = candidates.find(isNamed) ?? candidates.find((names) => names !== undefined);
  // Only training may give the classes of an unnamed head their names.
  if (needs === 'valid' && known !== undefined && Object.keys(known).length > 1) known = Object.values(known);
  let resolved: ResolvedLabels | undefined;
  const resolve = (file: typeof trainFile): LabelledFile | undefined => {
    if (!file) return undefined;
    const first = resolved === undefined;
    const result = resolveLabels(file.records, file.fileName, known);
    if (first) {
      resolved = result;
      known = result;
    }
    return { ...file, labels: result.labels };
  };
  const train = resolve(trainFile);
  const valid = resolve(validFile);
  const { names, regression } = resolved as unknown as ResolvedLabels;
  if (train && !regression && names.length < 2) {
    throw new DeftuneError(`${train.fileName}: every label is ${showValue(names[0])}, expected at least 2 classes`);
  }
  return {
    train,
    valid,
    labelNames: names,
    regression,
    metricName: regression ? undefined : task?.metric,
    description: task ? task.name : (files.train ?? files.valid ?? ''),
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
