import type { ResolvedLabels } from '../data/labels.js';
import type { DataRecord } from '../data/record.js';
import type { Head } from '../heads/head.js';
import { readFolderJson, type Folder } from '../io/folder.js';
import { configFields } from '../models/build-model.js';
import { familyHead, modelFamily } from '../models/index.js';
import type { StoredAdapter } from '../peft/peft-files.js';

/** What decides the head of a model and its labels. */
export interface RecordsToResolve {
  folder: Folder;
  adapter?: StoredAdapter | undefined;
  /** Name of the head that is asked for. */
  head?: string | undefined;
  labelNames?: readonly string[] | undefined;
  taskLabels?: readonly string[] | undefined;
  trainRecords?: readonly DataRecord[] | undefined;
  evalRecords?: readonly DataRecord[] | undefined;
}

/** The head to open and its labels. */
export interface ResolvedRecords {
  head: string;
  /** Undefined where the records say nothing of it. */
  numLabels: number | undefined;
  labelNames: readonly string[] | undefined;
  train: ResolvedLabels | undefined;
  evaluation: ResolvedLabels | undefined;
}

type Known = Parameters<Head['resolveLabels']>[2];

/**
 * Resolves the labels of records: against the names that are given, the adapter's, the task's or the model's, else those of the training
 * records. The head is the one asked for, the adapter's, or the one that the records call for.
 *
 * @throws DeftuneError naming the record whose label does not fit
 */
export function resolveRecords(given: RecordsToResolve): ResolvedRecords {
  const { folder, adapter, taskLabels, trainRecords, evalRecords } = given;
  const configPath = folder.pathOf('config.json');
  const config = configFields(readFolderJson(folder, 'config.json'), configPath);
  const family = modelFamily(config['model_type'], configPath);
  const record = trainRecords?.[0] ?? evalRecords?.[0];
  const claiming = record && family.heads.find(({ head }) => head.claims?.(record))?.head.name;
  const wanted = given.head ?? adapter?.sidecar.head ?? claiming;
  const { head } = familyHead(family, wanted, config['architectures'], configPath);
  const names = given.labelNames ?? adapter?.sidecar.labelNames;
  if (!record) {
    return { head: head.name, numLabels: undefined, labelNames: names, train: undefined, evaluation: undefined };
  }
  const id2label = config['id2label'] as Record<string, string> | undefined;
  const candidates: Known[] = [names, taskLabels?.length ? taskLabels : undefined, id2label];
  const isNamed = (known: Known): boolean =>
    known !== undefined && Object.values(known).some((name, index) => name !== `LABEL_${index}`);
  const known = candidates.find(isNamed) ?? candidates.find((candidate) => candidate !== undefined);
  const train = trainRecords?.length ? head.resolveLabels(trainRecords, 'training records', known) : undefined;
  const evaluation = evalRecords?.length
    ? head.resolveLabels(evalRecords, 'validation records', train ?? known)
    : undefined;
  const { regression, names: classes } = (train ?? evaluation)!;
  if (!head.hasLabels) return { head: head.name, numLabels: undefined, labelNames: undefined, train, evaluation };
  return {
    head: head.name,
    numLabels: regression ? 1 : classes.length,
    labelNames: regression ? undefined : classes,
    train,
    evaluation,
  };
}
