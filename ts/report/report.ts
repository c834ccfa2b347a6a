import type { CompareResult, RunResult } from './compare-result.js';
import { compareRows, tableNote } from './compare-table.js';
import { escapeHtml } from './escape-html.js';
import { activationFigure } from './figures/activation-figure.js';
import { curveFigure, CURVES } from './figures/curve-figure.js';
import { layerFigure, layerPoints } from './figures/layer-figure.js';
import { timeFigure } from './figures/time-figure.js';
import { tradeOffFigure } from './figures/trade-off-figure.js';
import { fixed } from './format-spread.js';
import { facts, figureHtml, page, table, warningBox } from './page.js';
import type { Figure } from './plot.js';
import { seriesOf } from './series.js';
import { alphasOf, collectWarnings, summarize } from './summarize.js';

/** The comparison's outcome in one sentence of plain text. */
export function headline(result: CompareResult): string {
  if (alphasOf(result.runs).length > 1) return sweepHeadline(result);
  const { peft, deft, pairedSeeds, densityChange, metricPoints, metricName } = summarize(result);
  if (!peft && !deft) return 'This comparison has no runs.';
  if (!peft || !deft) {
    const only = (peft ?? deft)!;
    const seeds = `${only.seeds.length} seed${only.seeds.length === 1 ? '' : 's'}`;
    const metric = only.metric ? `${fixed(only.metric.mean * 100, 1)} % ${metricName}` : `no valid ${metricName}`;
    const density = only.density ? `${fixed(only.density.mean * 100, 2)} % density` : 'no valid density';
    return `${only.variant} reached ${metric} at ${density} (${seeds}); the other variant did not run.`;
  }
  if (pairedSeeds.length === 0 || !metricPoints || !peft.density || !deft.density || !densityChange)
    return 'PEFT and DEFT have no seed in common with usable values, so they cannot be compared.';
  const change = densityChange.mean;
  const verb =
    Math.abs(change) < 0.05
      ? 'left density unchanged'
      : `${change > 0 ? 'lowered' : 'raised'} density by ${fixed(Math.abs(change), 1)} %`;
  const points = metricPoints.mean;
  const metric =
    Math.abs(points) < 0.005
      ? `${metricName} did not change`
      : `${metricName} ${points > 0 ? 'rose' : 'fell'} by ${fixed(Math.abs(points), 2)} points`;
  const range = `from ${fixed(peft.density.mean * 100, 2)} % to ${fixed(deft.density.mean * 100, 2)} %`;
  const seeds = pairedSeeds.length === 1 ? 'one seed' : `mean of ${pairedSeeds.length} seeds`;
  return `DEFT ${verb}, ${range}; ${metric} (${seeds}).`;
}

/** A sweep over alpha in one sentence: its ends, and PEFT. */
function sweepHeadline({ runs }: CompareResult): string {
  const means = seriesOf(runs).flatMap(({ name, variant, runs: own }) => {
    const { peft, deft, metricName } = summarize({ runs: own });
    const { metric, density } = (variant === 'PEFT' ? peft : deft) ?? {};
    const text = `${fixed((metric?.mean ?? Number.NaN) * 100, 1)} % ${metricName} at ${fixed((density?.mean ?? Number.NaN) * 100, 2)} % density`;
    return metric && density ? [{ variant, density: density.mean, text: `${name}: ${text}` }] : [];
  });
  const swept = means.filter(({ variant }) => variant === 'DEFT').sort((a, b) => b.density - a.density);
  const shown = [
    means.find(({ variant }) => variant === 'PEFT'),
    swept[0],
    swept.length > 1 ? swept.at(-1) : undefined,
  ];
  return `${shown.flatMap((mean) => mean?.text ?? []).join('; ') || 'No run has usable values'}.`;
}

/** The figures of runs that differ by variant, alpha and seed, in the order of the report. */
export function runFigures(runs: readonly RunResult[], metricName: string): Figure[] {
  return [
    layerFigure(runs),
    activationFigure(runs),
    ...CURVES.map((curve) => curveFigure(runs, curve)),
    tradeOffFigure(runs, metricName),
    timeFigure(runs),
  ].filter((figure) => figure !== undefined);
}

function layerTable({ runs }: CompareResult): string {
  const columns = seriesOf(runs).map(({ name, runs: own }) => ({ name, points: layerPoints(own) }));
  const layers = new Map(columns.flatMap(({ points }) => points.map(({ layer, name }) => [layer, name])));
  if (layers.size === 0) return '';
  const rows = [...layers]
    .sort(([a], [b]) => a - b)
    .map(([layer, name]) => [
      `${layer}: ${name}`,
      ...columns.map(({ points }) => fixed(points.find((p) => p.layer === layer)?.mean ?? Number.NaN, 2)),
    ]);
  const inner = table('Density by layer, mean over seeds', ['Layer', ...columns.map(({ name }) => `${name} %`)], rows);
  return `<details><summary>Density by layer as a table</summary>${inner}</details>`;
}

/**
 * The comparison as one self-contained HTML page: no script, no network, figures as inline SVG. Every
 * string of `result` is escaped.
 */
export function renderReport(result: CompareResult): string {
  const { metricName } = summarize(result);
  const { head, rows } = compareRows(result);
  const count = (n: number) => n.toLocaleString('en-US');
  const several = alphasOf(result.runs).length > 1;
  const runs = result.runs.map((r) => [
    r.variant,
    ...(several ? [r.alpha === undefined ? '' : String(r.alpha)] : []),
    String(r.seed),
    fixed(r.metric * 100, 2),
    fixed(r.density * 100, 2),
    fixed(r.seconds, 1),
    count(r.steps),
  ]);
  const columns = [
    'Variant',
    ...(several ? ['Alpha'] : []),
    'Seed',
    `${metricName} %`,
    'Density %',
    'Seconds',
    'Steps',
  ];
  const [byLayer, ...figures] = runFigures(result.runs, metricName).map(figureHtml);
  return page(
    {
      title: `PEFT vs DEFT: ${result.model} on ${result.data}`,
      kicker: `PEFT vs DEFT · ${result.model} · ${result.data}`,
      heading: headline(result),
    },
    `${warningBox(collectWarnings(result))}
${table('PEFT and DEFT over all seeds', ['Variant', ...head.slice(1)], rows)}
<p class="dim">${tableNote(result)}</p>
<h2>Figures</h2>
${[byLayer ?? '', layerTable(result), ...figures].join('\n')}
<h2>Runs</h2>
${table('Every run', columns, runs)}
<h2>How it was run</h2>
<pre><code>${escapeHtml(result.command)}</code></pre>
${facts([
  ['Model', result.model],
  ['Data', result.data],
  ['Examples', `${count(result.trainExamples)} training, ${count(result.validExamples)} validation`],
  ['Method', result.method],
  ['Density loss', result.density],
  ['Machine', result.machine],
  ['Date', result.date],
  ['Version', `deftune ${result.version}`],
])}`,
  );
}
