import type { CompareResult } from './compare-result.js';

/** What the report of a grid can show. */
export const GRID_FIGURES = ['by-dataset', 'layers', 'activations', 'curves', 'trade-off', 'time'] as const;

/** A figure of the paper on a density change. */
export interface PaperFigure {
  /** Of an encoder-decoder; undefined: of the whole model. */
  side?: 'encoder' | 'decoder' | undefined;
  /** (PEFT − DEFT) / PEFT in percent, in the source's words: `up to 44.94`. */
  change: string;
  source: string;
}

/** PEFT against DEFT at one place of a grid. */
export interface GridGroup extends Pick<
  CompareResult,
  'method' | 'density' | 'trainExamples' | 'validExamples' | 'runs'
> {
  model: string;
  /** The checkpoint's folder, where another stands for the paper's. */
  modelStandIn?: string | undefined;
  dataset: string;
  dataStandIn?: string | undefined;
  module: string;
  paper: PaperFigure[];
}

/** What was not run, and why. */
export interface GridGap {
  what: string;
  reason: string;
}

/** The outcome of a grid, finished or not. */
export interface GridResult extends Pick<CompareResult, 'version' | 'date' | 'machine' | 'command'> {
  title: string;
  figures: readonly (typeof GRID_FIGURES)[number][];
  groups: GridGroup[];
  /** Absent models and data. */
  skipped: GridGap[];
  /** Runs that ended with an error. */
  failed: GridGap[];
  /** Of the runs whose model and data are there. */
  runsDone: number;
  runsPlanned: number;
}

/** A group's name: `BERT-Base (bert-mini), SST-2, LoRA`. */
export function groupName({ model, modelStandIn, dataset, dataStandIn, module }: GridGroup): string {
  const named = (name: string, standIn: string | undefined): string => (standIn ? `${name} (${standIn})` : name);
  return `${named(model, modelStandIn)}, ${named(dataset, dataStandIn)}, ${module}`;
}
