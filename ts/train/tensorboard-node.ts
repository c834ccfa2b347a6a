import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { explainFileError } from '../io/files-node.js';
import { eventRecord, type Scalars } from './event-record.js';
import { evaluationScalars, stepScalars } from './run-scalars.js';
import type { TrainerCallback } from './trainer.js';

let filesOfProcess = 0;

/**
 * A callback that writes TensorBoard event files into `directory`, for `tensorboard --logdir`. The file is made with the first step; a
 * resumed run writes one more, in which the steps that it repeats replace those before.
 *
 * @throws DeftuneError naming the file that cannot be written (from the run itself)
 */
export function tensorBoard(directory: string): TrainerCallback {
  let file: number | undefined;
  let path = directory;

  const write = (event: Omit<Parameters<typeof eventRecord>[0], 'wallTime'>): void => {
    try {
      writeSync(file as number, eventRecord({ wallTime: Date.now() / 1000, ...event }));
    } catch (cause) {
      throw explainFileError(path, 'write', cause);
    }
  };

  const open = (step: number): void => {
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, '0');
    filesOfProcess += 1;
    path = join(directory, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${filesOfProcess}`);
    try {
      mkdirSync(directory, { recursive: true });
      file = openSync(path, 'wx');
    } catch (cause) {
      throw explainFileError(path, 'write', cause);
    }
    write({ fileVersion: 'brain.Event:2' });
    write({ step, starts: true });
  };

  const add = (step: number, scalars: Scalars): void => {
    if (file === undefined) open(step);
    write({ step, scalars });
  };

  return {
    onStep: (log) => {
      add(log.step, stepScalars(log));
    },
    onEvaluate: (log) => {
      add(log.step, evaluationScalars(log));
    },
    onEnd: () => {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}
