import * as Plot from '@observablehq/plot';
import type { RunResult } from '../compare-result.js';
import { fromZero, percentDomain, plotSvg, VALUE_AXIS, type Figure } from '../plot.js';
import { runName, seriesOf } from '../series.js';
import { spread } from '../summarize.js';
import { VARIANT_STYLE } from '../variant-style.js';

/** Milliseconds of a training step. */
const stepTime = (run: RunResult): number => (run.seconds / run.steps) * 1000;

/** Mean density (0 to 1) of the activations over a run's steps: what its products had to do with. */
function meanDensity(run: RunResult): number {
  return spread(run.log.map(({ density }) => density))?.mean ?? Number.NaN;
}

/** Density during training across, time of a step up, a symbol for each run; undefined without usable runs. */
export function timeFigure(all: readonly RunResult[]): Figure | undefined {
  const points = all
    .map((run) => ({ run, density: meanDensity(run) * 100, time: stepTime(run) }))
    .filter(({ density, time }) => Number.isFinite(density) && Number.isFinite(time));
  if (points.length === 0) return undefined;
  const series = seriesOf(points.map(({ run }) => run));
  const several = series.length > 2;
  const listed = series.map(({ name, runs }) => {
    const own = points.filter(({ run }) => runs.includes(run));
    const mean = (of: (point: (typeof own)[number]) => number): string => (spread(own.map(of))?.mean ?? 0).toFixed(1);
    return `${name} ${mean(({ time }) => time)} ms at ${mean(({ density }) => density)} %`;
  });
  const svg = plotSvg(
    `Scatter chart, milliseconds of a training step against mean density in percent, one symbol per run; means: ${listed.join('; ')}`,
    {
      height: 280,
      x: {
        label: 'Mean density while training, %',
        domain: percentDomain(points.map(({ density }) => density * 1.05)),
        nice: true,
        grid: true,
        labelAnchor: 'center',
        labelArrow: 'none',
      },
      y: {
        label: 'ms a step',
        domain: fromZero(
          points.map(({ time }) => time),
          1e-6,
        ),
        ...VALUE_AXIS,
      },
      marks: [
        Plot.ruleY([0]),
        ...points.map(({ run, density, time }) =>
          Plot.dot([run], {
            x: () => density,
            y: () => time,
            symbol: VARIANT_STYLE[run.variant].symbol,
            fill: VARIANT_STYLE[run.variant].color,
            fillOpacity: 0.85,
            r: 6,
            title: () => `${runName(run, several)}: ${time.toFixed(1)} ms, mean density ${density.toFixed(2)} %`,
          }),
        ),
      ],
    },
  );
  return {
    id: 'time-and-density',
    title: 'Time and density',
    note: 'Time of a training step, evaluations included, by the mean density of the activations meanwhile. One symbol per run.',
    svg,
  };
}
