import * as Plot from '@observablehq/plot';
import type { RunLogEntry, RunResult } from '../compare-result.js';
import { curvePoints, GROUPS, MAX_POINTS } from '../curve-points.js';
import { fromZero, percentDomain, plotSvg, VALUE_AXIS, type Figure } from '../plot.js';
import { runName, seriesOf } from '../series.js';
import { VARIANT_STYLE } from '../variant-style.js';

/** What a curve shows of each step. */
export interface Curve {
  id: string;
  title: string;
  /** Of the axis. */
  label: string;
  value(entry: RunLogEntry): number;
  /** Whether the values are shares in percent. */
  percent?: boolean;
}

/** The curves of a report. */
export const CURVES: readonly Curve[] = [
  { id: 'task-loss', title: 'Task loss during training', label: 'Task loss', value: (entry) => entry.taskLoss },
  {
    id: 'density-during-training',
    title: 'Density during training',
    label: 'Density %',
    value: (entry) => entry.density * 100,
    percent: true,
  },
];

/** One logged value by step, a thin line per run; undefined when nothing was logged. */
export function curveFigure(runs: readonly RunResult[], curve: Curve): Figure | undefined {
  const curves = runs.map((run) => ({
    run,
    points: curvePoints(run.log.map((e) => ({ step: e.step, value: curve.value(e) }))),
  }));
  const all = curves.flatMap((c) => c.points);
  if (all.length === 0) return undefined;
  const last = runs.reduce((most, r) => r.log.reduce((m, e) => Math.max(m, e.step), most), 1);
  const series = seriesOf(runs);
  const several = series.length > 2;
  const ends = series.flatMap(({ name, runs: own }) => {
    const values = curves.filter(({ run }) => own.includes(run)).flatMap(({ points }) => points.slice(-1));
    const mean = values.reduce((sum, { value }) => sum + value, 0) / values.length;
    return values.length === 0 ? [] : [`${name} ends at ${mean.toPrecision(3)}`];
  });
  const values = all.map((p) => p.value);
  const svg = plotSvg(`Line chart: ${curve.label} by training step, one line per run: ${ends.join('; ')}`, {
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
      label: curve.label,
      domain: curve.percent ? percentDomain(values) : fromZero(values, 1e-6),
      ...VALUE_AXIS,
    },
    marks: [
      Plot.ruleY([0]),
      ...curves.map(({ run, points }) => {
        const { color, dash, symbol } = VARIANT_STYLE[run.variant];
        return points.length === 1
          ? Plot.dot(points, { x: 'step', y: 'value', symbol, fill: color })
          : Plot.lineY(points, {
              x: 'step',
              y: 'value',
              stroke: color,
              strokeDasharray: dash,
              strokeWidth: 1.3,
              strokeOpacity: 0.85,
              title: () => runName(run, several),
            });
      }),
    ],
  });
  const averaged = runs.some((r) => r.log.length > MAX_POINTS)
    ? ` Long curves are averaged into ${GROUPS} points.`
    : '';
  return { id: curve.id, title: curve.title, note: `One line per run.${averaged}`, svg };
}
