import * as Plot from '@observablehq/plot';
import type { RunResult } from '../compare-result.js';
import { percentDomain, plotSvg, wholeTicks, type Figure } from '../plot.js';
import { seriesOf } from '../series.js';
import { VARIANT_STYLE } from '../variant-style.js';

/** One layer's density in percent over the seeds. */
export interface LayerPoint {
  layer: number;
  name: string;
  mean: number;
  min: number;
  max: number;
}

/** Per layer the mean and range over the runs, in percent. */
export function layerPoints(runs: readonly RunResult[]): LayerPoint[] {
  const layers = Math.max(0, ...runs.map((r) => r.layerDensity.length));
  const points: LayerPoint[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const values = runs
      .map((r) => r.layerDensity[layer])
      .filter((v): v is number => v !== undefined && Number.isFinite(v))
      .map((v) => v * 100);
    if (values.length === 0) continue;
    points.push({
      layer,
      name: runs.find((r) => r.layerNames[layer] !== undefined)?.layerNames[layer] ?? `layer ${layer}`,
      mean: values.reduce((sum, v) => sum + v, 0) / values.length,
      min: Math.min(...values),
      max: Math.max(...values),
    });
  }
  return points;
}

/** Density by layer, or undefined when no run has layer densities. */
export function layerFigure(runs: readonly RunResult[]): Figure | undefined {
  const data = seriesOf(runs)
    .map((series) => ({ ...series, points: layerPoints(series.runs) }))
    .filter(({ points }) => points.length > 0);
  const all = data.flatMap((d) => d.points);
  if (all.length === 0) return undefined;
  const last = Math.max(...all.map((p) => p.layer));
  const ranges = data.map(
    ({ name, points }) =>
      `${name} ${Math.min(...points.map((p) => p.mean)).toFixed(1)} to ${Math.max(...points.map((p) => p.mean)).toFixed(1)}`,
  );
  const alternative = `Line chart of the density in percent by layer, ${last + 1} layers, mean over seeds with the range: ${ranges.join('; ')}`;
  const several = data.filter(({ variant }) => variant === 'DEFT').length > 1;
  const svg = plotSvg(alternative, {
    height: 320,
    ...(several ? { marginRight: 84 } : {}),
    x: {
      label: 'Layer',
      domain: [-0.3, last + 0.3],
      ticks: wholeTicks(0, last),
      tickFormat: 'd',
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: { label: 'Density %', domain: percentDomain(all.map((p) => p.max)), nice: true, grid: true, labelArrow: 'none' },
    marks: [
      Plot.ruleY([0]),
      ...data.flatMap(({ name, variant, alpha, points }) => {
        const { color, dash, symbol } = VARIANT_STYLE[variant];
        return [
          Plot.areaY(points, { x: 'layer', y1: 'min', y2: 'max', fill: color, fillOpacity: 0.16 }),
          Plot.ruleX(points, { x: 'layer', y1: 'min', y2: 'max', stroke: color, strokeOpacity: 0.7 }),
          Plot.lineY(points, { x: 'layer', y: 'mean', stroke: color, strokeWidth: 2, strokeDasharray: dash }),
          Plot.dot(points, {
            x: 'layer',
            y: 'mean',
            symbol,
            fill: color,
            r: 4,
            title: (p: LayerPoint) =>
              `${name}, ${p.name}: ${p.mean.toFixed(2)} % (${p.min.toFixed(2)} to ${p.max.toFixed(2)})`,
          }),
          ...(several && alpha !== undefined
            ? [
                Plot.text(points.slice(-1), {
                  ...{ x: 'layer', y: 'mean', text: () => `alpha ${alpha}`, fill: color, textAnchor: 'start' },
                  dx: 10,
                }),
              ]
            : []),
        ];
      }),
    ],
  });
  const note =
    'Share of active MLP activations after training, on the validation set. Line: mean over seeds; band: lowest to highest seed.';
  return { id: 'density-by-layer', title: 'Density by layer', note, svg };
}
