import { join } from 'node:path';
import { resolveLabels, type ResolvedLabels } from '../data/labels.js';
import type { TextRecord } from '../data/record.js';
import { readRecords } from '../data/records-node.js';
import { getTask } from '../data/tasks/index.js';
import { DeftuneError } from '../error.js';
import { fileExists, readJson } from '../io/files-node.js';
import { readAdapter } from '../peft/peft-files-node.js';
import type { DataOptions, ModelPathOptions } from './options.js';

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
  const files = task ? task.files(options.data as string) : { train: options.trainFile, valid: options.validFile };
  const needed = files[needs];
  if (needed === undefined)
    throw new DeftuneError(`no data given, expected --${needs}-file FILE, or --task NAME --data DIR`);

  const read = (fileName: string | undefined): { fileName: string; records: TextRecord[] } | undefined =>
    fileName === undefined ? undefined : { fileName, records: readRecords(fileName) };
  const trainFile = needs === 'train' ? read(files.train) : undefined;
  const validFile = read(files.valid);

  let known: Parameters<typeof resolveLabels>[2] =
    adapterLabels(options.adapter) ?? task?.labelNames ?? modelLabels(options.model);
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
  return {
    train,
    valid,
    labelNames: names,
    regression,
    metricName: regression ? undefined : task?.metric,
    description: task ? task.name : (files.train ?? files.valid ?? ''),
  };
}

function adapterLabels(adapter: string | undefined): string[] | undefined {
  const names = adapter === undefined ? undefined : readAdapter(adapter).sidecar.labelNames;
  return names?.length && names.some((name, index) => name !== `LABEL_${index}`) ? names : undefined;
}

function modelLabels(directory: string): Record<string, string> | undefined {
  const path = join(directory, 'config.json');
  if (!fileExists(path)) return undefined;
  const config = readJson(path) as { id2label?: Record<string, string> } | null;
  return config?.id2label && typeof config.id2label === 'object' ? config.id2label : undefined;
}
