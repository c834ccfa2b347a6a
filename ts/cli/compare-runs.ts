import process from 'node:process';
import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';
import type { CompareResult, RunResult } from '../report/compare-result.js';
import { withReference, type DensitySettings } from './density-settings.js';
import { describeMachine } from './describe-machine.js';
import { loadData } from './load-data.js';
import type { RunOptions } from './options.js';
import { runResult } from './run-result.js';
import { trainingRun } from './training-run.js';
import { version } from './version.js';

/** What a comparison runs. */
export interface Comparison {
  options: RunOptions;
  seeds: readonly number[];
  /** DEFT's; of several, e.g. with one alpha each, every one is run. */
  densities: readonly DensitySettings[];
  backend: Backend;
  command: string;
  /** Told of new heads and the like, once. */
  onNotice?: (notice: string) => void;
}

/** Trains PEFT and each DEFT from each seed: same data order, same new weights, same dropout; only the density loss differs. */
export async function compareRuns({
  options,
  seeds,
  densities,
  backend,
  command,
  onNotice,
}: Comparison): Promise<CompareResult> {
  const data = await loadData(options, 'train');
  if (!data.valid) throw new DeftuneError('a comparison needs validation data: --valid-file FILE');
  const runs: RunResult[] = [];
  let described = { method: '', trainExamples: 0, validExamples: 0 };
  const losses = new Set<string>();
  const noticed = new Set<string>();
  const variants = [undefined, ...densities];
  for (const [index, seed] of seeds.entries()) {
    let plain: RunResult['evaluations'];
    for (const [place, density] of variants.entries()) {
      const variant = density ? 'DEFT' : 'PEFT';
      const alpha = density?.loss.alpha;
      const name = `${variant}${density && densities.length > 1 ? ` alpha ${alpha}` : ''}`;
      const run = await trainingRun({
        ...{ options, data, backend, seed, density: withReference(density ?? densities[0], plain), isPlain: !density },
        isGated: density && options.layerGates,
        label: `${name} seed ${seed} (${index * variants.length + place + 1} of ${seeds.length * variants.length})`,
      });
      for (const notice of run.notices) {
        if (!noticed.has(notice)) onNotice?.(notice);
        noticed.add(notice);
      }
      described = run;
      if (run.density !== undefined) losses.add(run.density);
      const result = await runResult(run, { variant, seed, alpha, withActivations: index === 0 }).finally(() => {
        run.model.base.dispose();
      });
      if (!density) plain = result.evaluations;
      runs.push(result);
    }
  }
  return {
    version,
    date: new Date().toISOString(),
    machine: `${describeMachine(backend)}, node ${process.version}`,
    model: options.model,
    data: data.description,
    method: described.method,
    density: [...losses].join('; '),
    trainExamples: described.trainExamples,
    validExamples: described.validExamples,
    command,
    runs,
  };
}
