import { join } from 'node:path';
import type { DataRecord } from '../data/record.js';
import { HEADS } from '../heads/index.js';
import type { Head } from '../heads/head.js';
import { readJson } from '../io/files-node.js';
import { configFields } from '../models/build-model.js';
import { familyHead, modelFamily } from '../models/index.js';
import { checkModelType } from '../peft/peft-files.js';
import { readAdapter } from '../peft/peft-files-node.js';
import type { ModelPathOptions } from './options.js';

/**
 * The head that a command opens: the one asked for (`--head`), the adapter's, the one that the labels of the records call
 * for, else the checkpoint's own.
 *
 * @throws DeftuneError where the model's family does not have it.
 */
export function chooseHead({ model, adapter, head }: ModelPathOptions, records: readonly DataRecord[] = []): Head {
  const configPath = join(model, 'config.json');
  const fields = configFields(readJson(configPath), configPath);
  const family = modelFamily(fields['model_type'], configPath);
  const record = records[0];
  const claiming = record && family.heads.find((entry) => entry.head.claims?.(record))?.head.name;
  const wanted = head ?? (adapter === undefined ? undefined : adapterHead(adapter, family.modelType)) ?? claiming;
  return familyHead(family, wanted, fields['architectures'], configPath).head;
}

/** The head that an adapter was made for: as deftune.json says, else by peft's `task_type`. */
function adapterHead(directory: string, modelType: string): string | undefined {
  const adapter = readAdapter(directory);
  // Before the base is opened with the labels of an adapter that is for another.
  checkModelType(adapter, modelType);
  const { sidecar, config } = adapter;
  if (typeof sidecar.head === 'string') return sidecar.head;
  const taskType = config?.['task_type'] ?? undefined;
  return taskType === undefined ? undefined : HEADS.find((candidate) => candidate.taskType === taskType)?.name;
}
