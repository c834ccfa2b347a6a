import type { RunResult } from './compare-result.js';
import { csv, type Cell } from './csv.js';

/** What tells runs apart, e.g. the model and the data set of a grid. */
export interface LabelledRun {
  labels: readonly string[];
  run: RunResult;
}

/**
 * Every figure of the runs as tables, shares from 0 to 1: `runs.csv`, `layers.csv` and `curves.csv` by file name.
 *
 * @param names of the labels
 */
export function runTables(names: readonly string[], runs: readonly LabelledRun[]): Map<string, string> {
  const key = [...names, 'variant', 'alpha', 'seed'];
  const keyOf = ({ labels, run: { variant, alpha, seed } }: LabelledRun): Cell[] => [...labels, variant, alpha, seed];
  return new Map([
    [
      'runs.csv',
      csv(
        [...key, ...['metric_name', 'metric', 'density', 'encoder_density', 'decoder_density', 'seconds', 'steps']],
        runs.map((one) => {
          const { metricName, metric, density, encoderDensity, decoderDensity, seconds, steps } = one.run;
          return [...keyOf(one), metricName, metric, density, encoderDensity, decoderDensity, seconds, steps];
        }),
      ),
    ],
    [
      'layers.csv',
      csv(
        [...key, 'layer', 'name', 'density'],
        runs.flatMap((one) =>
          one.run.layerDensity.map((density, layer) => [...keyOf(one), layer, one.run.layerNames[layer], density]),
        ),
      ),
    ],
    [
      'curves.csv',
      csv(
        [...key, ...['step', 'loss', 'task_loss', 'density_loss', 'density', 'lr', 'seconds']],
        runs.flatMap((one) =>
          one.run.log.map(({ step, loss, taskLoss, densityLoss, density, lr, seconds }) => [
            ...keyOf(one),
            ...[step, loss, taskLoss, densityLoss, density, lr, seconds],
          ]),
        ),
      ),
    ],
  ]);
}
