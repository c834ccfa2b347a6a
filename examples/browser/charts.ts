import * as Plot from '@observablehq/plot';
import type { Variant, VariantName } from './variant.js';

/** Colour, dash and symbol: each tells the variants apart on its own. */
const STYLE = {
  PEFT: { color: 'var(--peft)', dash: 'none', symbol: 'circle' },
  DEFT: { color: 'var(--deft)', dash: '6 3', symbol: 'triangle' },
} as const;

interface Point {
  step: number;
  value: number;
}

/** Most points of a line: more cannot be told apart, and take longer to draw. */
const MOST_POINTS = 150;

/** A line for each variant; says in words what it shows. */
export function lineChart(
  target: HTMLElement,
  what: string,
  variants: readonly Variant[],
  pointsOf: (variant: Variant) => Point[],
  options: { lastStep: number; isSparse?: boolean },
): void {
  const lines = variants.map((variant) => ({ name: variant.name, points: thin(pointsOf(variant)) }));
  const words = lines.flatMap(({ name, points }) => {
    const last = points.at(-1);
    return last ? `${name} ${last.value.toFixed(3)} at step ${last.step}` : [];
  });
  draw(target, `Line chart, ${what}: ${words.join(', ') || 'nothing yet'}`, {
    x: { label: 'step', domain: [0, Math.max(1, options.lastStep)], ticks: 5 },
    y: { label: null, grid: true, nice: true, ticks: 5 },
    marks: lines.flatMap(({ name, points }) => {
      const { color, dash, symbol } = STYLE[name];
      const line = Plot.lineY(points, {
        x: 'step',
        y: 'value',
        stroke: color,
        strokeWidth: 2,
        strokeDasharray: dash,
      });
      const dots = Plot.dot(points, { x: 'step', y: 'value', fill: color, symbol, r: 4 });
      return options.isSparse ? [line, dots] : [line];
    }),
  });
}

/** A bar for each layer. @param most where the axis ends, the same for both variants */
export function layerChart(
  target: HTMLElement,
  name: VariantName,
  layers: readonly { name: string; density: number }[],
  most: number,
): void {
  const bars = layers.map(({ density }, layer) => ({ layer: String(layer), value: density * 100 }));
  const words = bars.map(({ layer, value }) => `layer ${layer} ${value.toFixed(1)}`).join(', ');
  draw(target, `Bar chart, density in percent of ${name}: ${words || 'nothing yet'}`, {
    x: { label: 'layer', domain: bars.length > 0 ? bars.map(({ layer }) => layer) : ['0'] },
    y: { label: null, grid: true, domain: [0, Math.max(1, most * 100)], ticks: 5 },
    marks: [
      Plot.barY(bars, { x: 'layer', y: 'value', fill: STYLE[name].color }),
      Plot.text(bars, { x: 'layer', y: 'value', text: ({ value }: { value: number }) => value.toFixed(1), dy: -8 }),
      Plot.ruleY([0]),
    ],
  });
}

function draw(target: HTMLElement, label: string, options: Plot.PlotOptions): void {
  const figure = Plot.plot({
    width: 520,
    height: 240,
    marginLeft: 44,
    marginTop: 24,
    style: { fontSize: '13px', background: 'transparent', overflow: 'visible' },
    ...options,
  });
  figure.setAttribute('role', 'img');
  figure.setAttribute('aria-label', label);
  target.replaceChildren(figure);
}

/** Means of neighbours, so that no more than {@link MOST_POINTS} are left. */
function thin(points: readonly Point[]): Point[] {
  const size = Math.ceil(points.length / MOST_POINTS);
  if (size <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / size) }, (_, index) => {
    const group = points.slice(index * size, (index + 1) * size);
    const value = group.reduce((sum, point) => sum + point.value, 0) / group.length;
    return { step: group.at(-1)!.step, value };
  });
}
