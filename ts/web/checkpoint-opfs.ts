import { DeftuneError } from '../error.js';
import { parseSafetensors, serializeSafetensors } from '../io/safetensors.js';
import type { CheckpointStore, ProgressState, TrainingState } from '../train/checkpoint.js';
import { stateFromTensors, stateTensors } from '../train/state-tensors.js';

/** Settings of checkpoints in the browser. */
export interface OpfsCheckpointOptions {
  /** Checkpoints that are kept, the best and the newest always; 0: all; default 2. */
  saveTotalLimit?: number | undefined;
  /** Told of what is worth knowing, e.g. that a checkpoint is damaged and the one before is used. */
  onNotice?: ((notice: string) => void) | undefined;
}

const ROOT = 'deftune-checkpoints';

/** What a checkpoint says beside its tensors. */
interface StateFields {
  step: number;
  optimizerStep: number;
  progress: ProgressState;
}

/**
 * Keeps checkpoints in the origin's private file system (OPFS), each one file, which appears whole or not at all: a run can go on after
 * the page was closed in the middle of it.
 *
 * @param name of the run
 * @throws DeftuneError where the browser has no such file system (pages without https)
 */
export async function opfsCheckpoints(name: string, options: OpfsCheckpointOptions = {}): Promise<CheckpointStore> {
  const { saveTotalLimit = 2, onNotice } = options;
  const folder = await (await rootFolder()).getDirectoryHandle(encodeURIComponent(name), { create: true });
  let best: number | undefined;
  const read = async (step: number): Promise<TrainingState> => {
    const file = await (await folder.getFileHandle(fileName(step))).getFile();
    return parse(new Uint8Array(await file.arrayBuffer()), `${name}/${fileName(step)}`);
  };
  return {
    async save(state, { isBest }) {
      if (isBest) best = state.step;
      best ??= state.progress.best?.step;
      const fields: StateFields = { step: state.step, optimizerStep: state.optimizer.step, progress: state.progress };
      const bytes = serializeSafetensors(stateTensors(state), { state: JSON.stringify(fields) });
      // What is written replaces the file when it is closed, not before.
      const stream = await (await folder.getFileHandle(fileName(state.step), { create: true })).createWritable();
      await stream.write(bytes as FileSystemWriteChunkType);
      await stream.close();
      const steps = await stepsIn(folder);
      const removable = steps.filter((step) => step !== best && step !== steps.at(-1));
      const surplus = saveTotalLimit > 0 ? Math.max(0, steps.length - saveTotalLimit) : 0;
      for (const step of removable.slice(0, surplus)) await folder.removeEntry(fileName(step));
    },

    async latest() {
      for (const step of (await stepsIn(folder)).reverse()) {
        try {
          return await read(step);
        } catch (error) {
          onNotice?.(`${(error as Error).message}; the checkpoint before it is used`);
        }
      }
      return undefined;
    },

    at: read,
  };
}

/** Throws a run's checkpoints away; does nothing where it has none. */
export async function removeOpfsCheckpoints(name: string): Promise<void> {
  await (await rootFolder()).removeEntry(encodeURIComponent(name), { recursive: true }).catch(() => undefined);
}

async function rootFolder(): Promise<FileSystemDirectoryHandle> {
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(ROOT, { create: true });
  } catch (cause) {
    throw new DeftuneError(
      `checkpoints need the browser's private file system, which this page does not have: ${(cause as Error).message}`,
      { cause },
    );
  }
}

const fileName = (step: number): string => `checkpoint-${step}.safetensors`;

async function stepsIn(folder: FileSystemDirectoryHandle): Promise<number[]> {
  const steps: number[] = [];
  // TypeScript's DOM library does not have the iterator of a folder's names.
  const names = (folder as unknown as { keys(): AsyncIterable<string> }).keys();
  for await (const name of names) {
    const step = /^checkpoint-(\d+)\.safetensors$/.exec(name)?.[1];
    // The file of a save that was cut off is empty.
    if (step !== undefined && (await (await folder.getFileHandle(name)).getFile()).size > 0) steps.push(Number(step));
  }
  return steps.sort((a, b) => a - b);
}

function parse(bytes: Uint8Array, path: string): TrainingState {
  const { metadata, tensors } = parseSafetensors(bytes, path);
  const { step, optimizerStep, progress } = JSON.parse(metadata['state'] ?? 'null') as StateFields;
  const { parameters, slots } = stateFromTensors(tensors);
  return { step, optimizer: { step: optimizerStep, tensors: slots }, parameters, progress };
}
