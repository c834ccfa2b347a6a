import * as Plot from '@observablehq/plot';
import type { RunVariant } from '../compare-result.js';
import type { GridGroup } from '../grid-result.js';
import { plotSvg, type Figure } from '../plot.js';
import { seriesOf } from '../series.js';
import { spread } from '../summarize.js';
import { VARIANT_STYLE } from '../variant-style.js';

interface Bar {
  place: string;
  variant: RunVariant;
  mean: number;
  from: number;
  to: number;
}

/** What the bars show. */
const SHOWN = [
  { id: 'density-by-dataset', of: 'density', title: 'Density by data set', label: 'Density %' },
  { id: 'metric-by-dataset', of: 'metric', title: 'Metric by data set', label: 'Metric %' },
] as const;

/** Density and metric by data set, PEFT beside DEFT, a pair of figures for each module. */
export function datasetFigures(groups: readonly GridGroup[]): Figure[] {
  const modules = [...new Set(groups.map(({ module }) => module))];
  return modules.flatMap((module, number) =>
    SHOWN.flatMap((shown) => {
      const bars = barsOf(
        groups.filter((group) => group.module === module),
        shown.of,
      );
      if (bars.length === 0) return [];
      const title = modules.length > 1 ? `${shown.title}: ${module}` : shown.title;
      return [{ id: `${shown.id}-${number + 1}`, title, note: NOTE, svg: barChart(bars, shown.label) }];
    }),
  );
}

const NOTE = 'On the validation set, mean over seeds; line: one sample standard deviation up and down.';

function barsOf(groups: readonly GridGroup[], of: 'density' | 'metric'): Bar[] {
  const models = new Set(groups.map(({ model }) => model));
  return groups.flatMap((group) =>
    seriesOf(group.runs).flatMap(({ variant, runs }) => {
      const found = spread(runs.map((run) => run[of] * 100));
      if (!found) return [];
      const { mean, sd = 0 } = found;
      const place = models.size > 1 ? `${group.model} ${group.dataset}` : group.dataset;
      return [{ place, variant, mean, from: mean - sd, to: mean + sd }];
    }),
  );
}

function barChart(bars: readonly Bar[], label: string): string {
  const places = [...new Set(bars.map(({ place }) => place))];
  const listed = places.map((place) => {
    const own = bars.filter((bar) => bar.place === place);
    return `${place} ${own.map(({ variant, mean }) => `${variant} ${mean.toFixed(2)}`).join(', ')}`;
  });
  return plotSvg(`Bar chart, ${label} by data set: ${listed.join('; ')}`, {
    height: 300,
    marginBottom: 56,
    fx: { label: null, domain: places, padding: 0.2, axis: 'bottom' },
    x: { axis: null, domain: ['PEFT', 'DEFT'], padding: 0.08 },
    y: {
      label,
      domain: [Math.min(0, ...bars.map(({ from }) => from)), 100],
      grid: true,
      labelArrow: 'none',
    },
    marks: [
      Plot.barY(bars, {
        fx: 'place',
        x: 'variant',
        y: 'mean',
        fill: (bar: Bar) => VARIANT_STYLE[bar.variant].color,
        fillOpacity: (bar: Bar) => (bar.variant === 'DEFT' ? 0.55 : 0.9),
        stroke: (bar: Bar) => VARIANT_STYLE[bar.variant].color,
        title: (bar: Bar) => `${bar.place}, ${bar.variant}: ${bar.mean.toFixed(2)} %`,
      }),
      Plot.ruleX(bars, { fx: 'place', x: 'variant', y1: 'from', y2: 'to', stroke: 'currentColor' }),
      Plot.text(bars, {
        fx: 'place',
        x: 'variant',
        y: 'to',
        dy: -7,
        text: (bar: Bar) => bar.mean.toFixed(1),
        fill: 'currentColor',
        fontSize: places.length > 6 ? 8.5 : 11,
      }),
      Plot.ruleY([0]),
    ],
  });
}
