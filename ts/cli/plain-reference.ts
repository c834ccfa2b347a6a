import { join } from 'node:path';
import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { fileExists } from '../io/files-node.js';
import { readAdapter, saveAdapter, SIDECAR, type Sidecar } from '../peft/peft-files-node.js';
import type { TrainResult } from '../train/trainer.js';
import { trainingRun, type Saving, type TrainingRun } from './training-run.js';

/** The plain run that the drop of a budget is counted from. */
export interface PlainReference {
  /** The adapter's folder. */
  directory: string;
  /** Of the run, in order. */
  evaluations: TrainResult['evaluations'];
}

/** Of a run that was stopped: the steps that it has done, and the folder of its checkpoints. */
export interface Interruption {
  steps: number;
  out: string;
}

const point = z.object({ step: z.number(), loss: z.number(), metric: z.number(), density: z.number() });
const evaluated = z.object({ density: z.null(), evaluations: z.array(point).min(1) });

/** Folder of the plain run inside that of the sparse one. */
export const plainFolder = (out: string): string => join(out, 'plain');

/**
 * Evaluations of a plain run that `train` has written before.
 *
 * @throws DeftuneError naming the directory where it holds none, or those of a run with a density loss
 */
export function readReference(directory: string): PlainReference {
  const reference = referenceIn(readAdapter(directory).sidecar, directory);
  if (reference) return reference;
  throw new DeftuneError(
    `--reference is ${directory}, expected the folder of a plain run (train without --density) with validation data, or none`,
  );
}

/**
 * Trains the plain run beside a sparse one: same seed, order and dropout, no density loss, no gates. Its adapter is written to the
 * folder `plain` of the other's, with its checkpoints where the run keeps any. A resumed run takes what is there.
 *
 * @returns the reference, or where the run was interrupted
 */
export async function trainReference(
  run: TrainingRun & { out: string; saving: Saving },
): Promise<{ reference: PlainReference } | { interrupted: Interruption }> {
  const { out: directory, options, saving } = run;
  if (saving.resume && fileExists(join(directory, SIDECAR))) {
    const stored = referenceIn(readAdapter(directory).sidecar, directory);
    if (stored) return { reference: stored };
  }
  const { model, result, densityRecord, method } = await trainingRun({
    ...run,
    isPlain: true,
    isGated: false,
  });
  try {
    const { evaluations, ended, steps, seconds } = result;
    if (ended === 'aborted') return { interrupted: { steps, out: directory } };
    const training = { method, density: null, steps, seconds, evaluations };
    saveAdapter(model, directory, options.model, { density: densityRecord, training });
    return { reference: { directory, evaluations } };
  } finally {
    model.base.dispose();
  }
}

function referenceIn({ training }: Sidecar, directory: string): PlainReference | undefined {
  const { data } = evaluated.safeParse(training);
  return data && { directory, evaluations: data.evaluations };
}
