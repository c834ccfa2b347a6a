import type { Figure } from './plot.js';

/** The report's colours in its light theme: a file of its own has no page to take them from. */
const COLORS = new Map([
  ['var(--peft)', '#0b63b5'],
  ['var(--deft)', '#c2510a'],
]);

/** A figure as the content of an SVG file: with its colours, on white. */
export function svgFile({ svg }: Figure): string {
  let text = svg;
  for (const [variable, color] of COLORS) text = text.replaceAll(variable, color);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text
    .replace('background: transparent; color: inherit;', 'background: #fff; color: #1b1f24;')
    .replace(/^<svg /, () => (svg.includes('xmlns=') ? '<svg ' : '<svg xmlns="http://www.w3.org/2000/svg" '))}\n`;
}
