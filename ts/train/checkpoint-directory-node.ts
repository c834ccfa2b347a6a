import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DeftuneError } from '../error.js';
import { explainFileError, fileExists, readBytes, readJson, syncFolder, writeFilesAtomic } from '../io/files-node.js';
import { parseSafetensors, serializeSafetensors } from '../io/safetensors.js';
import type { CheckpointStore, ProgressState, TrainingState } from './checkpoint.js';
import { stateFromTensors, stateTensors } from './state-tensors.js';

/** Settings of a checkpoint directory. */
export interface CheckpointDirectoryOptions {
  /** Checkpoints that are kept, the best and the newest always; 0 (default): all. */
  saveTotalLimit?: number | undefined;
  /** Further files of a checkpoint by name, e.g. the adapter, so that each can be used by itself. */
  extraFiles?: (() => ReadonlyMap<string, string | Uint8Array>) | undefined;
  /** Told of what is worth knowing, e.g. that a checkpoint is damaged and the one before is used. */
  onNotice?: ((notice: string) => void) | undefined;
}

const STATE = 'trainer_state.json';
const TENSORS = 'trainer_state.safetensors';

/** What trainer_state.json holds. */
interface StateFile {
  step: number;
  optimizerStep: number;
  progress: ProgressState;
  /** SHA-256 of every other file, by name: how a damaged checkpoint is known. */
  files: Record<string, string>;
  /** SHA-256 of the fields above, as JSON. */
  sha256: string;
}

/**
 * Keeps checkpoints in `directory/checkpoint-STEP`. Each is written to a temporary folder, synced, and renamed: a folder of that name is
 * complete, however the process ends.
 */
export function checkpointDirectory(directory: string, options: CheckpointDirectoryOptions = {}): CheckpointStore {
  let best: number | undefined;
  const { saveTotalLimit = 0, extraFiles, onNotice } = options;
  return {
    save(state, { isBest }) {
      mkdirSync(directory, { recursive: true });
      removeLeftovers(directory);
      if (isBest) best = state.step;
      best ??= state.progress.best?.step;
      write(directory, state, extraFiles?.() ?? new Map());
      if (saveTotalLimit > 0) prune(directory, saveTotalLimit, best);
    },

    latest() {
      for (const step of checkpointSteps(directory).reverse()) {
        try {
          return read(directory, step);
        } catch (error) {
          onNotice?.(`${(error as Error).message}; the checkpoint before it is used`);
        }
      }
      return undefined;
    },

    at: (step) => read(directory, step),
  };
}

/** Steps of the complete checkpoints in a directory, ascending; none where there is no directory. */
export function checkpointSteps(directory: string): number[] {
  if (!fileExists(directory)) return [];
  return readdirSync(directory)
    .flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

const folderOf = (directory: string, step: number): string => join(directory, `checkpoint-${step}`);

/** Name of a folder that is no checkpoint: not yet, or no more. */
const hidden = (directory: string, step: number): string =>
  join(directory, `.checkpoint-${step}.${randomBytes(4).toString('hex')}.tmp`);

/** What a killed run left behind. */
function removeLeftovers(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (/^\.checkpoint-\d+\..*tmp$/.test(name)) rmSync(join(directory, name), { recursive: true, force: true });
  }
}

function write(directory: string, state: TrainingState, extra: ReadonlyMap<string, string | Uint8Array>): void {
  const files = new Map<string, string | Uint8Array>([...extra, [TENSORS, serializeSafetensors(stateTensors(state))]]);
  const fields: Omit<StateFile, 'sha256'> = {
    step: state.step,
    optimizerStep: state.optimizer.step,
    progress: state.progress,
    files: Object.fromEntries([...files].map(([name, data]) => [name, hash(data)])),
  };
  const stateFile: StateFile = { ...fields, sha256: hash(JSON.stringify(fields)) };
  files.set(STATE, `${JSON.stringify(stateFile, null, 2)}\n`);
  const temporary = hidden(directory, state.step);
  const target = folderOf(directory, state.step);
  try {
    writeFilesAtomic(temporary, files);
    syncFolder(temporary);
    // A run that repeats a step after a resumption replaces what it saved there before.
    if (fileExists(target)) discard(directory, state.step);
    renameSync(temporary, target);
    syncFolder(directory);
  } catch (cause) {
    rmSync(temporary, { recursive: true, force: true });
    if (!(cause instanceof DeftuneError)) throw explainFileError(target, 'write', cause);
    // Named after what was to be written, not after its temporary name.
    throw new DeftuneError(cause.message.replace(temporary, target), { cause });
  }
}

/** Takes a checkpoint out of the way at once, then removes its files. */
function discard(directory: string, step: number): void {
  const away = hidden(directory, step);
  renameSync(folderOf(directory, step), away);
  rmSync(away, { recursive: true, force: true });
}

function prune(directory: string, limit: number, best: number | undefined): void {
  const steps = checkpointSteps(directory);
  const newest = steps.at(-1);
  const removable = steps.filter((step) => step !== best && step !== newest);
  for (const step of removable.slice(0, Math.max(0, steps.length - limit))) discard(directory, step);
}

function read(directory: string, step: number): TrainingState {
  const folder = folderOf(directory, step);
  const stateFile = readState(join(folder, STATE));
  for (const [name, expected] of Object.entries(stateFile.files)) {
    if (hash(readBytes(join(folder, name))) !== expected) {
      throw new DeftuneError(`${join(folder, name)}: the file is damaged (its SHA-256 is not the one in ${STATE})`);
    }
  }
  const tensorsPath = join(folder, TENSORS);
  const stored = parseSafetensors(readBytes(tensorsPath), tensorsPath).tensors;
  const { parameters, slots } = stateFromTensors(stored);
  const { optimizerStep, progress } = stateFile;
  return { step: stateFile.step, optimizer: { step: optimizerStep, tensors: slots }, parameters, progress };
}

function readState(path: string): StateFile {
  const value = readJson(path);
  const { sha256, ...fields } = (typeof value === 'object' ? (value ?? {}) : {}) as StateFile;
  if (hash(JSON.stringify(fields)) === sha256) return value as StateFile;
  throw new DeftuneError(`${path}: the file is damaged (its SHA-256 is not the one in it)`);
}

function hash(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
