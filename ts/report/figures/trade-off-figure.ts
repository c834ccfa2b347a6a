import * as Plot from '@observablehq/plot';
import type { RunResult } from '../compare-result.js';
import { paretoFront } from '../pareto-front.js';
import { metricDomain, percentDomain, plotSvg, type Figure } from '../plot.js';
import { runName, seriesOf, type Series } from '../series.js';
import { spread } from '../summarize.js';
import { VARIANT_STYLE } from '../variant-style.js';

interface Mean {
  series: Series;
  density: number;
  metric: number;
  /** Metric of its best run, for the label to stand above. */
  top: number;
}

/** Density across, metric up: a symbol for each run, and of a sweep over alpha the front of the means. Undefined without usable runs. */
export function tradeOffFigure(all: readonly RunResult[], metricName: string): Figure | undefined {
  const runs = all.filter((r) => Number.isFinite(r.metric) && Number.isFinite(r.density));
  if (runs.length === 0) return undefined;
  const series = seriesOf(runs);
  const several = series.length > 2;
  const means: Mean[] = series.flatMap((one) => {
    const [density, metric] = [spread(one.runs.map((r) => r.density)), spread(one.runs.map((r) => r.metric))];
    const top = Math.max(...one.runs.map((r) => r.metric)) * 100;
    return density && metric ? [{ series: one, density: density.mean * 100, metric: metric.mean * 100, top }] : [];
  });
  const front = paretoFront(means);
  const listed = means.map(
    ({ series: { name }, density, metric }) => `${name} ${metric.toFixed(2)} at ${density.toFixed(2)}`,
  );
  const alternative = `Scatter chart, ${metricName} in percent against density in percent, one symbol per run; means: ${listed.join('; ')}`;
  const svg = plotSvg(alternative, {
    height: 320,
    x: {
      label: 'Density %',
      domain: percentDomain(runs.map((r) => r.density * 105)),
      nice: true,
      grid: true,
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: {
      label: `${metricName.charAt(0).toUpperCase()}${metricName.slice(1)} %`,
      domain: metricDomain(runs.map((r) => r.metric * 100)),
      nice: true,
      grid: true,
      ticks: 6,
      labelArrow: 'none',
    },
    marks: [
      Plot.frame({ anchor: 'bottom' }),
      ...(several
        ? [
            Plot.line(front, { x: 'density', y: 'metric', stroke: 'currentColor', strokeOpacity: 0.55 }),
            Plot.text(means, {
              x: 'density',
              y: 'top',
              text: ({ series: { variant, alpha } }: Mean) => (variant === 'PEFT' ? 'PEFT' : `alpha ${alpha}`),
              dy: -14,
              fill: 'currentColor',
            }),
          ]
        : []),
      ...series.map(({ variant, runs: own }) =>
        Plot.dot(own, {
          x: (r: RunResult) => r.density * 100,
          y: (r: RunResult) => r.metric * 100,
          symbol: VARIANT_STYLE[variant].symbol,
          fill: VARIANT_STYLE[variant].color,
          fillOpacity: 0.85,
          r: 6,
          title: (r: RunResult) =>
            `${runName(r, several)}: ${(r.metric * 100).toFixed(2)} %, density ${(r.density * 100).toFixed(2)} %`,
        }),
      ),
    ],
  });
  return {
    id: 'trade-off',
    title: several ? `Density and ${metricName} by alpha: the Pareto front` : `Density and ${metricName} per seed`,
    note: several
      ? 'One symbol per run, alphas at their means. Line: the means that no other beats in both. Up and to the left is better.'
      : 'One symbol per run. Up and to the left is better.',
    svg,
  };
}
