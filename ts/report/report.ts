import type { CompareResult } from './compare-result.js';
import { compareRows, tableNote } from './compare-table.js';
import { GROUPS, MAX_POINTS } from './curve-points.js';
import { escapeHtml } from './escape-html.js';
import { curveFigure, layerFigure, layerPoints, seedFigure } from './figures.js';
import { fixed } from './format-spread.js';
import { collectWarnings, summarize } from './summarize.js';

const CSS = `
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --dim: #57606a; --line: #d0d7de; --soft: #f4f6f8; --peft: #0b63b5; --deft: #c2510a; --warn-bg: #fff4ce; --warn-line: #b7791f; }
@media (prefers-color-scheme: dark) { :root { --bg: #14181d; --fg: #e6e9ed; --dim: #a3adb8; --line: #39424d; --soft: #1d232a; --peft: #69b1ff; --deft: #ff9d4d; --warn-bg: #3a2f10; --warn-line: #e0b040; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 800px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.55rem; line-height: 1.3; margin: 0.2em 0 0.5em; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2em 0 0.4em; }
p { margin: 0.4em 0; }
.dim, figcaption, .kicker { color: var(--dim); font-size: 0.9rem; }
.kicker, .facts, dd, .warnings li { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--peft); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
thead th::first-letter { text-transform: uppercase; }
caption { text-align: left; color: var(--dim); font-size: 0.9rem; padding-bottom: 6px; }
th, td { padding: 7px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { font-size: 0.9rem; color: var(--dim); font-weight: 600; }
figure { margin: 0.6em 0 1.6em; }
figure svg { display: block; width: 100%; min-width: 540px; height: auto; }
.title { font-weight: 600; color: var(--fg); font-size: 1rem; display: block; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0.3em 0; font-size: 0.9rem; }
.legend span { display: inline-flex; align-items: center; gap: 7px; }
.legend svg { display: inline-block; width: 34px; min-width: 0; height: 14px; }
.warnings { background: var(--warn-bg); border-left: 4px solid var(--warn-line); padding: 10px 16px; margin: 1.2em 0; border-radius: 4px; }
.warnings h2 { margin: 0; font-size: 1rem; }
.warnings ul { margin: 0.3em 0 0; padding-left: 1.2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0.5em 0; }
dt { color: var(--dim); }
dd { margin: 0; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: 10px 12px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85rem; }
summary { cursor: pointer; }
@media (max-width: 560px) { main { padding: 16px 12px 32px; } h1 { font-size: 1.25rem; } th, td { padding: 6px 7px; font-size: 0.9rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; } }
@media print { .scroll { overflow: visible; } figure { break-inside: avoid; } }
`;

const LEGEND = `<p class="legend" aria-hidden="true"><span><svg viewBox="0 0 34 14"><line x1="0" x2="34" y1="7" y2="7" stroke="var(--peft)" stroke-width="2"/><circle cx="17" cy="7" r="4.5" fill="var(--peft)"/></svg>PEFT</span><span><svg viewBox="0 0 34 14"><line x1="0" x2="34" y1="7" y2="7" stroke="var(--deft)" stroke-width="2" stroke-dasharray="6 3"/><path d="M17 1.5 22.5 11.5H11.5Z" fill="var(--deft)"/></svg>DEFT</span></p>`;

/** The comparison's outcome in one sentence of plain text. */
export function headline(result: CompareResult): string {
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

function table(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const th = head.map((h) => `<th scope="col">${escapeHtml(h)}</th>`).join('');
  const body = rows.map((row) => {
    const [first = '', ...rest] = row;
    return `<tr><th scope="row">${escapeHtml(first)}</th>${rest.map((c) => `<td>${escapeHtml(c)}</td>`).join('')}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}"><table><caption>${escapeHtml(caption)}</caption><thead><tr>${th}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

function figure(id: string, title: string, note: string, svg: string | undefined): string {
  if (svg === undefined) return '';
  return `<figure aria-labelledby="${id}"><figcaption><span class="title" id="${id}">${escapeHtml(title)}</span>${escapeHtml(note)}</figcaption>${LEGEND}<div class="scroll" tabindex="0" role="region" aria-labelledby="${id}">${svg}</div></figure>`;
}

function layerTable(result: CompareResult): string {
  const peft = layerPoints(result, 'PEFT');
  const deft = layerPoints(result, 'DEFT');
  const layers = [...new Set([...peft, ...deft].map((p) => p.layer))].sort((a, b) => a - b);
  if (layers.length === 0) return '';
  const rows = layers.map((layer) => {
    const a = peft.find((p) => p.layer === layer);
    const b = deft.find((p) => p.layer === layer);
    return [`${layer}: ${(a ?? b)!.name}`, fixed(a?.mean ?? NaN, 2), fixed(b?.mean ?? NaN, 2)];
  });
  const inner = table('Density by layer, mean over seeds', ['Layer', 'PEFT %', 'DEFT %'], rows);
  return `<details><summary>Density by layer as a table</summary>${inner}</details>`;
}

/**
 * The comparison as one self-contained HTML page: no script, no network, figures as inline SVG. Every
 * string of `result` is escaped.
 */
export function renderReport(result: CompareResult): string {
  const summary = summarize(result);
  const warnings = collectWarnings(result);
  const { head, rows } = compareRows(result);
  const name = summary.metricName;
  const count = (n: number) => n.toLocaleString('en-US');
  const averaged = result.runs.some((r) => r.log.length > MAX_POINTS)
    ? ` Long curves are averaged into ${GROUPS} points.`
    : '';
  const settings: [string, string][] = [
    ['Model', result.model],
    ['Data', result.data],
    ['Examples', `${count(result.trainExamples)} training, ${count(result.validExamples)} validation`],
    ['Method', result.method],
    ['Density loss', result.density],
    ['Machine', result.machine],
    ['Date', result.date],
    ['Version', `deftune ${result.version}`],
  ];
  const runs = result.runs.map((r) => [
    r.variant,
    String(r.seed),
    fixed(r.metric * 100, 2),
    fixed(r.density * 100, 2),
    fixed(r.seconds, 1),
    count(r.steps),
  ]);
  const warningBox =
    warnings.length === 0
      ? ''
      : `<section class="warnings" aria-labelledby="warnings"><h2 id="warnings">${warnings.length === 1 ? 'Warning' : `${warnings.length} warnings`}</h2><ul>${warnings.map((w) => `<li>${escapeHtml(w)}</li>`).join('')}</ul></section>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(`PEFT vs DEFT: ${result.model} on ${result.data}`)}</title>
<style>${CSS}</style>
</head>
<body>
<main>
<p class="kicker">PEFT vs DEFT · ${escapeHtml(result.model)} · ${escapeHtml(result.data)}</p>
<h1>${escapeHtml(headline(result).replaceAll(' %', '\u00a0%'))}</h1>
${warningBox}
${table('PEFT and DEFT over all seeds', ['Variant', ...head.slice(1)], rows)}
<p class="dim">${tableNote(result)}</p>
<h2>Figures</h2>
${figure('fig-layers', 'Density by layer', 'Share of active MLP activations after training, on the validation set. Line: mean over seeds; band: lowest to highest seed.', layerFigure(result))}
${layerTable(result)}
${figure(
  'fig-loss',
  'Task loss during training',
  `One line per seed.${averaged}`,
  curveFigure(result, 'Task loss', (e) => e.taskLoss),
)}
${figure(
  'fig-density',
  'Density during training',
  `One line per seed.${averaged}`,
  curveFigure(result, 'Density %', (e) => e.density * 100),
)}
${figure('fig-seeds', `Density and ${name} per seed`, 'One symbol per run. Up and to the left is better.', seedFigure(result, name))}
<h2>Runs</h2>
${table('Every run', ['Variant', 'Seed', `${name} %`, 'Density %', 'Seconds', 'Steps'], runs)}
<h2>How it was run</h2>
<pre><code>${escapeHtml(result.command)}</code></pre>
<dl>${settings.map(([k, v]) => `<dt>${k}</dt><dd>${escapeHtml(v)}</dd>`).join('')}</dl>
</main>
</body>
</html>
`;
}
