// Two kinds of chart, as SVG made here: a plotting library took 50 to 120 ms of the page's thread a chart beside two busy workers.
import type { Variant, VariantName } from './variant.js';

/** Colour and dash: each tells the variants apart on its own. */
const STYLE = {
  PEFT: { color: 'var(--peft)', dash: '' },
  DEFT: { color: 'var(--deft)', dash: '7 4' },
} as const;

/** A value at a step. */
export interface Point {
  step: number;
  value: number;
}

const SIZE = { width: 520, height: 240, left: 52, right: 12, top: 18, bottom: 34 };
/** Most points of a line: more cannot be told apart. */
const MOST_POINTS = 150;

/** A line for each variant; its label says in words what it shows. */
export function lineChart(
  target: HTMLElement,
  what: string,
  variants: readonly Variant[],
  pointsOf: (variant: Variant) => Point[],
  options: { lastStep: number; isSparse?: boolean },
): void {
  const lines = variants.map(({ name }, index) => ({ name, points: thin(pointsOf(variants[index]!)) }));
  const values = lines.flatMap(({ points }) => points.map(({ value }) => value));
  const yTicks = ticks(Math.min(...values), Math.max(...values));
  const x = scaleOf(0, Math.max(1, options.lastStep), SIZE.left, SIZE.width - SIZE.right);
  const y = scaleOf(yTicks[0]!, yTicks.at(-1)!, SIZE.height - SIZE.bottom, SIZE.top);
  const words = lines.flatMap(({ name, points }) => {
    const last = points.at(-1);
    return last ? `${name} ${last.value.toFixed(3)} at step ${last.step}` : [];
  });
  const parts = [grid(yTicks, y)];
  for (const tick of ticks(0, Math.max(1, options.lastStep))) {
    if (tick <= options.lastStep && Number.isInteger(tick)) {
      parts.push(text(x(tick), SIZE.height - SIZE.bottom + 16, String(tick), 'middle'));
    }
  }
  parts.push(text(SIZE.width - SIZE.right, SIZE.height - 4, 'step', 'end'));
  for (const { name, points } of lines) {
    const { color, dash } = STYLE[name];
    const at = points.map(({ step, value }) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
    parts.push(
      `<polyline points="${at.join(' ')}" fill="none" stroke="${color}" stroke-width="2" stroke-dasharray="${dash}"/>`,
    );
    if (options.isSparse) parts.push(...points.map(({ step, value }) => mark(name, x(step), y(value))));
  }
  draw(target, `Line chart, ${what}: ${words.join(', ') || 'nothing yet'}`, parts);
}

/** A bar for each layer. @param most where the axis ends, the same for both variants */
export function layerChart(
  target: HTMLElement,
  name: VariantName,
  layers: readonly { name: string; density: number }[],
  most: number,
): void {
  const yTicks = ticks(0, Math.max(1, most * 100));
  const y = scaleOf(0, yTicks.at(-1)!, SIZE.height - SIZE.bottom, SIZE.top);
  const band = (SIZE.width - SIZE.left - SIZE.right) / Math.max(1, layers.length);
  const parts = [grid(yTicks, y)];
  for (const [layer, { density }] of layers.entries()) {
    const value = density * 100;
    const left = SIZE.left + layer * band;
    parts.push(
      `<rect x="${left + band * 0.1}" y="${y(value)}" width="${band * 0.8}" height="${y(0) - y(value)}" fill="${STYLE[name].color}"/>`,
      text(left + band / 2, SIZE.height - SIZE.bottom + 16, String(layer), 'middle'),
    );
    if (band > 30) parts.push(text(left + band / 2, y(value) - 5, value.toFixed(1), 'middle'));
  }
  parts.push(text(SIZE.width - SIZE.right, SIZE.height - 4, 'layer', 'end'));
  const words = layers.map(({ density }, layer) => `layer ${layer} ${(density * 100).toFixed(1)}`).join(', ');
  draw(target, `Bar chart, density in percent of ${name}: ${words || 'nothing yet'}`, parts);
}

/** Replaces the target's content. Every part is made of numbers and fixed words. */
function draw(target: HTMLElement, label: string, parts: readonly string[]): void {
  const content = `<svg viewBox="0 0 ${SIZE.width} ${SIZE.height}" font-size="13" role="img">${parts.join('')}</svg>`;
  target.innerHTML = content;
  target.firstElementChild!.setAttribute('aria-label', label);
}

function mark(name: VariantName, x: number, y: number): string {
  const { color } = STYLE[name];
  if (name === 'PEFT') return `<circle cx="${x}" cy="${y}" r="4" fill="${color}"/>`;
  return `<path d="M${x} ${y - 5}l5 9h-10z" fill="${color}"/>`;
}

function grid(values: readonly number[], y: (value: number) => number): string {
  const digits = Math.max(0, -Math.floor(Math.log10((values[1] ?? 1) - (values[0] ?? 0))));
  const lines = values.map(
    (value) =>
      `<line x1="${SIZE.left}" x2="${SIZE.width - SIZE.right}" y1="${y(value)}" y2="${y(value)}" stroke="var(--line)"/>` +
      text(SIZE.left - 6, y(value) + 4, value.toFixed(Math.min(6, digits)), 'end'),
  );
  return lines.join('');
}

function text(x: number, y: number, words: string, anchor: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="currentColor">${words}</text>`;
}

function scaleOf(from: number, to: number, start: number, end: number): (value: number) => number {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

/** About five round numbers around a range. */
function ticks(from: number, to: number): number[] {
  if (!Number.isFinite(from) || !Number.isFinite(to)) return [0, 1];
  const raw = Math.max(to - from, Math.abs(to) * 1e-3, 1e-6) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const first = Math.floor(from / step);
  const last = Math.max(Math.ceil(to / step), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
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
