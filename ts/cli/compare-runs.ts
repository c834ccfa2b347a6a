import process from 'node:process';
import type { Backend } from '../backend/backend.js';
import { DeftuneError } from '../error.js';
import type { CompareResult, RunResult } from '../report/compare-result.js';
import type { DensitySettings } from './density-settings.js';
import { describeMachine } from './describe-machine.js';
import { loadData } from './load-data.js';
import type { RunOptions } from './options.js';
import { trainingRun } from './training-run.js';
import { version } from './version.js';

/** What a comparison runs. */
export interface Comparison {
  options: RunOptions;
  seeds: readonly number[];
  density: DensitySettings;
  backend: Backend;
  command: string;
  /** Told of new heads and the like, once. */
  onNotice?: (notice: string) => void;
}

/** Trains PEFT and DEFT from each seed: same data order, same new weights, same dropout; only the density loss differs. */
export async function compareRuns({
  options,
  seeds,
  density,
  backend,
  command,
  onNotice,
}: Comparison): Promise<CompareResult> {
  const data = await loadData(options, 'train');
  if (!data.valid) throw new DeftuneError('a comparison needs validation data: --valid-file FILE');
  const runs: RunResult[] = [];
  let described = { method: '', density: '', trainExamples: 0, validExamples: 0 };
  const noticed = new Set<string>();
  for (const [index, seed] of seeds.entries()) {
    for (const variant of ['PEFT', 'DEFT'] as const) {
      const number = index * 2 + (variant === 'PEFT' ? 1 : 2);
      const run = await trainingRun({
        options,
        data,
        backend,
        seed,
        density: variant === 'DEFT' ? density : undefined,
        label: `${variant} seed ${seed} (${number} of ${seeds.length * 2})`,
      });
      run.model.base.dispose();
      for (const notice of run.notices) {
        if (!noticed.has(notice)) onNotice?.(notice);
        noticed.add(notice);
      }
      const { evaluation, log, seconds, steps } = run.result;
      if (!evaluation) throw new DeftuneError('a comparison needs validation data');
      described = { ...run, density: run.density ?? described.density };
      runs.push({
        variant,
        seed,
        metricName: evaluation.metricName,
        metric: evaluation.metric,
        density: evaluation.density,
        encoderDensity: evaluation.encoderDensity,
        decoderDensity: evaluation.decoderDensity,
        layerDensity: evaluation.layerDensity.map((layer) => layer.density),
        layerNames: evaluation.layerDensity.map((layer) => layer.name),
        ...(run.otherSets.length === 0
          ? {}
          : {
              otherSets: run.otherSets.map(({ name, evaluation: { metricName, metric, density } }) => ({
                ...{ name, metricName, metric, density },
              })),
            }),
        seconds,
        steps,
        log,
        warnings: run.warnings,
      });
    }
  }
  return {
    version,
    date: new Date().toISOString(),
    machine: `${describeMachine(backend)}, node ${process.version}`,
    model: options.model,
    data: data.description,
    method: described.method,
    density: described.density,
    trainExamples: described.trainExamples,
    validExamples: described.validExamples,
    command,
    runs,
  };
}
