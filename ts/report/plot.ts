import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { escapeHtml } from './escape-html.js';

const WIDTH = 720;

/** Stands for the alternative text until it can be escaped: linkedom escapes only quotes in attributes. */
const ALTERNATIVE = 'alternative';

/** A figure of a report. */
export interface Figure {
  /** Of its element and, with `.svg`, its file. */
  id: string;
  title: string;
  note: string;
  svg: string;
}

/** A plot as SVG text, its colours CSS variables. @param alternative what it shows, with its main figures, for those who cannot see it */
export function plotSvg(alternative: string, options: Plot.PlotOptions): string {
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
  figure.setAttribute('aria-label', ALTERNATIVE);
  return figure.outerHTML.replace(`"${ALTERNATIVE}"`, () => `"${escapeHtml(alternative)}"`);
}

/** An axis of values, with lines to read them by. */
export const VALUE_AXIS = { nice: true, grid: true, ticks: 5, labelArrow: 'none' } as const;

/** Whole numbers from `from` to `to`, no more than about a dozen. */
export function wholeTicks(from: number, to: number): number[] {
  const step = Math.max(1, Math.ceil((to - from + 1) / 12));
  const ticks: number[] = [];
  for (let at = from; at <= to; at += step) ticks.push(at);
  return ticks;
}

/** A domain from 0 that is never empty. */
export function fromZero(values: readonly number[], least: number): [number, number] {
  return [0, Math.max(least, ...values.filter((v) => Number.isFinite(v)))];
}

/** The domain of a density in percent: to 100 where one is above a half, so that no axis goes beyond what there is. */
export function percentDomain(values: readonly number[]): [number, number] {
  const [from, to] = fromZero(values, 0.1);
  return [from, to > 50 ? 100 : to];
}

/** A domain around values of a metric, in percent: at least five points, so that a small difference looks small. */
export function metricDomain(values: readonly number[]): [number, number] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((most - least) * 0.25, (5 - (most - least)) / 2);
  return [least - room, most + room];
}
