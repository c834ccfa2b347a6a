import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { CompareResult, RunLogEntry, RunVariant } from './compare-result.js';
import { curvePoints } from './curve-points.js';

const VARIANTS: readonly RunVariant[] = ['PEFT', 'DEFT'];

/** Colour, dash and symbol: each tells the variants apart on its own. */
const STYLE = {
  PEFT: { color: 'var(--peft)', dash: 'none', symbol: 'circle' },
  DEFT: { color: 'var(--deft)', dash: '6 3', symbol: 'triangle' },
} as const;

const WIDTH = 720;

/** `label` must be fixed text: linkedom escapes only quotes in attributes. */
function svg(label: string, options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const figure = Plot.plot({
    document: document as unknown as Document,
    width: WIDTH,
    marginLeft: 56,
    marginRight: 20,
    marginTop: 32,
    marginBottom: 44,
    ...options,
  });
  // Not Plot's own `style` option: it assigns `style`, which linkedom's SVG elements do not allow.
  figure.setAttribute('style', 'font-size: 13px; background: transparent; color: inherit; overflow: visible');
  figure.setAttribute('role', 'img');
  figure.setAttribute('aria-label', label);
  return figure.outerHTML;
}

/** Whole numbers from `from` to `to`, no more than about a dozen. */
function wholeTicks(from: number, to: number): number[] {
  const step = Math.max(1, Math.ceil((to - from + 1) / 12));
  const ticks: number[] = [];
  for (let at = from; at <= to; at += step) ticks.push(at);
  return ticks;
}

/** A domain from 0 that is never empty. */
function fromZero(values: readonly number[], least: number): [number, number] {
  return [0, Math.max(least, ...values.filter((v) => Number.isFinite(v)))];
}

interface LayerPoint {
  layer: number;
  name: string;
  mean: number;
  min: number;
  max: number;
}

/** Per layer the mean and range over seeds, in percent. */
export function layerPoints(result: CompareResult, variant: RunVariant): LayerPoint[] {
  const runs = result.runs.filter((r) => r.variant === variant);
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
export function layerFigure(result: CompareResult): string | undefined {
  const data = VARIANTS.map((variant) => ({ variant, points: layerPoints(result, variant) }));
  const all = data.flatMap((d) => d.points);
  if (all.length === 0) return undefined;
  const last = Math.max(...all.map((p) => p.layer));
  return svg('Line chart: density in percent by layer, PEFT and DEFT, mean over seeds with the range', {
    height: 320,
    x: {
      label: 'Layer',
      domain: [-0.3, last + 0.3],
      ticks: wholeTicks(0, last),
      tickFormat: 'd',
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: {
      label: 'Density %',
      domain: fromZero(
        all.map((p) => p.max),
        0.1,
      ),
      nice: true,
      grid: true,
      labelArrow: 'none',
    },
    marks: [
      Plot.ruleY([0]),
      ...data.flatMap(({ variant, points }) => {
        const { color, dash, symbol } = STYLE[variant];
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
              `${variant}, ${p.name}: ${p.mean.toFixed(2)} % (${p.min.toFixed(2)} to ${p.max.toFixed(2)})`,
          }),
        ];
      }),
    ],
  });
}

/** One logged value by step, a thin line per run; undefined when nothing was logged. */
export function curveFigure(
  result: CompareResult,
  label: string,
  value: (entry: RunLogEntry) => number,
): string | undefined {
  const curves = result.runs.map((run) => ({
    run,
    points: curvePoints(run.log.map((e) => ({ step: e.step, value: value(e) }))),
  }));
  const all = curves.flatMap((c) => c.points);
  if (all.length === 0) return undefined;
  const last = result.runs.reduce((most, r) => r.log.reduce((m, e) => Math.max(m, e.step), most), 1);
  return svg(`Line chart: ${label} by training step, one line per run of PEFT and DEFT`, {
    height: 260,
    x: {
      label: 'Step',
      domain: [0, last],
      ticks: 6,
      labelAnchor: 'center',
      labelArrow: 'none',
      tickFormat: (n: number) => (Number.isInteger(n) ? n.toLocaleString('en-US') : ''),
    },
    y: {
      label,
      domain: fromZero(
        all.map((p) => p.value),
        1e-6,
      ),
      nice: true,
      grid: true,
      ticks: 5,
      labelArrow: 'none',
    },
    marks: [
      Plot.ruleY([0]),
      ...curves.map(({ run, points }) =>
        points.length === 1
          ? Plot.dot(points, {
              x: 'step',
              y: 'value',
              symbol: STYLE[run.variant].symbol,
              fill: STYLE[run.variant].color,
            })
          : Plot.lineY(points, {
              x: 'step',
              y: 'value',
              stroke: STYLE[run.variant].color,
              strokeDasharray: STYLE[run.variant].dash,
              strokeWidth: 1.3,
              strokeOpacity: 0.85,
              title: () => `${run.variant}, seed ${run.seed}`,
            }),
      ),
    ],
  });
}

/** Each run a dot: density across, metric up. */
export function seedFigure(result: CompareResult, metricName: string): string | undefined {
  const runs = result.runs.filter((r) => Number.isFinite(r.metric) && Number.isFinite(r.density));
  if (runs.length === 0) return undefined;
  const metrics = runs.map((r) => r.metric * 100);
  const span = Math.max(...metrics) - Math.min(...metrics);
  // At least five points from bottom to top, so that a small difference looks small.
  const room = Math.max(span * 0.25, (5 - span) / 2);
  return svg('Scatter chart: metric against density in percent, one symbol per run of PEFT and DEFT', {
    height: 300,
    x: {
      label: 'Density %',
      domain: fromZero(
        runs.map((r) => r.density * 105),
        0.1,
      ),
      nice: true,
      grid: true,
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: {
      label: `${metricName.charAt(0).toUpperCase()}${metricName.slice(1)} %`,
      domain: [Math.min(...metrics) - room, Math.max(...metrics) + room],
      nice: true,
      grid: true,
      ticks: 6,
      labelArrow: 'none',
    },
    marks: [
      Plot.frame({ anchor: 'bottom' }),
      ...VARIANTS.map((variant) =>
        Plot.dot(
          runs.filter((r) => r.variant === variant),
          {
            x: (r: { density: number }) => r.density * 100,
            y: (r: { metric: number }) => r.metric * 100,
            symbol: STYLE[variant].symbol,
            fill: STYLE[variant].color,
            fillOpacity: 0.85,
            r: 6,
            title: (r: { seed: number; density: number; metric: number }) =>
              `${variant}, seed ${r.seed}: ${(r.metric * 100).toFixed(2)} %, density ${(r.density * 100).toFixed(2)} %`,
          },
        ),
      ),
    ],
  });
}
