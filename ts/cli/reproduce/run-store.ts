import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DeftuneError } from '../../error.js';
import { fileExists, readJson, writeFilesAtomic } from '../../io/files-node.js';
import { showValue } from '../../io/show-value.js';
import type { RunResult, RunVariant } from '../../report/compare-result.js';
import type { Cell } from './grid.js';

/** One run of a grid. */
export interface PlannedRun {
  cell: Cell;
  variant: RunVariant;
  seed: number;
  /** Everything that its result depends on, as plain data; what is undefined is left out. */
  settings: Record<string, unknown>;
}

/** A finished run as its file has it. */
export interface StoredRun {
  settings: Record<string, unknown>;
  method: string;
  density: string | undefined;
  trainExamples: number;
  validExamples: number;
  /** Of the whole run, opening and evaluation included. */
  wallSeconds: number;
  result: RunResult;
}

/** Finished runs in a folder, a JSON file each. */
export class RunStore {
  private readonly folder: string;

  constructor(out: string) {
    this.folder = join(out, 'runs');
  }

  /** The file of a run. */
  fileName({ cell: { model, dataset, module }, variant, seed }: PlannedRun): string {
    return `${[model.name, dataset.name, module.name, variant, seed].join('.')}.json`;
  }

  /**
   * The run, if it is finished.
   * @throws DeftuneError where its file is damaged, or of other settings than these
   */
  read(run: PlannedRun): StoredRun | undefined {
    const path = join(this.folder, this.fileName(run));
    if (!fileExists(path)) return undefined;
    const stored = readJson(path) as Partial<StoredRun> | null;
    if (!stored?.settings || !stored.result) {
      throw new DeftuneError(`${path}: it is not the file of a run, expected it whole; remove it to run it again`);
    }
    const keys = [...new Set([...Object.keys(stored.settings), ...Object.keys(run.settings)])];
    const other = keys.find((key) => !isDeepStrictEqual(stored.settings?.[key], run.settings[key]));
    if (other === undefined) return stored as StoredRun;
    throw new DeftuneError(
      `${path}: its ${other} is ${show(stored.settings[other])}, expected ${show(run.settings[other])} as now; take another --out, or remove it`,
    );
  }

  /** Keeps a finished run: the file is there whole or not at all. */
  write(run: PlannedRun, stored: StoredRun): void {
    writeFilesAtomic(this.folder, new Map([[this.fileName(run), `${JSON.stringify(stored)}\n`]]));
  }
}

const show = (value: unknown): string => (value === undefined ? 'the default' : showValue(value));
