import type { Backend } from '../../backend/backend.js';
import { DeftuneError } from '../../error.js';
import type { RunResult } from '../../report/compare-result.js';
import type { GridGap } from '../../report/grid-result.js';
import { thinLog } from '../../report/thin-log.js';
import { densitySettings, withReference } from '../density-settings.js';
import { loadData, type LoadedData } from '../load-data.js';
import type { RunOptions } from '../options.js';
import { runResult } from '../run-result.js';
import { trainingRun } from '../training-run.js';
import { formatSeconds } from '../ui/format.js';
import type { Plan } from './plan.js';
import type { PlannedRun, RunStore, StoredRun } from './run-store.js';
import { timeLeft, type TimedRun } from './time-left.js';

/** What runs a grid. */
export interface GridRunner {
  store: RunStore;
  backend: Backend;
  /** Stops after the step at hand; the run that it stops is run again the next time. */
  signal: AbortSignal;
  onNotice(notice: string): void;
}

/** Logged steps that a run's file keeps. */
const MOST_STEPS = 500;

interface FinishedRun extends TimedRun {
  evaluations: RunResult['evaluations'];
}

/** Name of a run for people: `BERT-Base SST-2 LoRA DEFT seed 42`. */
export function runTitle({ cell: { model, dataset, module }, variant, seed }: PlannedRun): string {
  return `${model.title} ${dataset.title} ${module.title} ${variant} seed ${seed}`;
}

/**
 * Runs what the store does not have yet, each kept as soon as it is finished. A run that fails is left out, with its reason, and the others go on.
 *
 * @throws DeftuneError where the store has a file that is damaged or of other settings; then nothing was run
 */
export async function runGrid({ runs }: Plan, runner: GridRunner): Promise<GridGap[]> {
  const { store, signal } = runner;
  const finished: FinishedRun[] = [];
  const remaining: PlannedRun[] = [];
  for (const run of runs) {
    const stored = store.read(run);
    if (stored) finished.push({ run, seconds: stored.wallSeconds, evaluations: stored.result.evaluations });
    else remaining.push(run);
  }
  const failed: GridGap[] = [];
  let data: { of: string; loaded: LoadedData } | undefined;
  while (remaining.length > 0 && !signal.aborted) {
    const run = remaining[0] as PlannedRun;
    const left = timeLeft(finished, remaining);
    const number = `${runs.length - remaining.length + 1}/${runs.length}`;
    const label = `${number} ${runTitle(run)}${left === undefined ? '' : ` (${formatSeconds(left)} left)`}`;
    try {
      const options = runOptions(run);
      const of = JSON.stringify([options.model, options.data, options.task]);
      if (data?.of !== of) data = { of, loaded: await loadData(options, 'train') };
      const stored = await finish(run, options, data.loaded, label, plainEvaluations(finished, run), runner);
      if (!stored) break;
      store.write(run, stored);
      finished.push({ run, seconds: stored.wallSeconds, evaluations: stored.result.evaluations });
    } catch (error) {
      if (!(error instanceof DeftuneError)) throw error;
      failed.push({ what: runTitle(run), reason: error.message });
      runner.onNotice(`${runTitle(run)} failed: ${error.message}`);
    }
    remaining.shift();
  }
  return failed;
}

/** The plain run of the same place and seed: a budget's drop is counted from its metric at the same step. */
function plainEvaluations(finished: readonly FinishedRun[], { cell, seed }: PlannedRun): RunResult['evaluations'] {
  return finished.find(({ run }) => run.cell === cell && run.seed === seed && run.variant === 'PEFT')?.evaluations;
}

function runOptions({ settings }: PlannedRun): RunOptions {
  return { shuffle: true, ...settings } as unknown as RunOptions;
}

/** One run; undefined where it was stopped. */
async function finish(
  run: PlannedRun,
  options: RunOptions,
  data: LoadedData,
  label: string,
  reference: RunResult['evaluations'],
  { backend, signal, onNotice }: GridRunner,
): Promise<StoredRun | undefined> {
  const started = performance.now();
  const { variant, seed, settings } = run;
  const density =
    variant === 'DEFT'
      ? withReference(densitySettings(options, settings['density'] as string | undefined), reference)
      : undefined;
  const done = await trainingRun({
    options,
    data,
    backend,
    seed,
    density,
    isGated: density && options.layerGates,
    label,
    signal,
  });
  try {
    if (done.result.ended === 'aborted') return undefined;
    for (const notice of done.notices) onNotice(notice);
    const result = await runResult(done, { variant, seed, alpha: density?.loss.alpha, withActivations: true });
    const { method, trainExamples, validExamples } = done;
    return {
      ...{ settings, method, density: done.density, trainExamples, validExamples },
      wallSeconds: (performance.now() - started) / 1000,
      result: { ...result, log: thinLog(result.log, MOST_STEPS) },
    };
  } finally {
    done.model.base.dispose();
  }
}
