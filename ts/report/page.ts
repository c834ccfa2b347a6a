import { escapeHtml } from './escape-html.js';
import type { Figure } from './plot.js';

const CSS = `
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --dim: #57606a; --line: #d0d7de; --soft: #f4f6f8; --peft: #0b63b5; --deft: #c2510a; --warn-bg: #fff4ce; --warn-line: #b7791f; }
@media (prefers-color-scheme: dark) { :root { --bg: #14181d; --fg: #e6e9ed; --dim: #a3adb8; --line: #39424d; --soft: #1d232a; --peft: #69b1ff; --deft: #ff9d4d; --warn-bg: #3a2f10; --warn-line: #e0b040; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 800px; margin: 0 auto; padding: 24px 20px 48px; }
main.wide { max-width: 1280px; }
.wide figure { max-width: 800px; }
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
.wide th { white-space: normal; }
.wide tbody th { min-width: 130px; }
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

/** A table with a caption; every cell is escaped. */
export function table(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const th = head.map((h) => `<th scope="col">${escapeHtml(h)}</th>`).join('');
  const body = rows.map((row) => {
    const [first = '', ...rest] = row;
    return `<tr><th scope="row">${escapeHtml(first)}</th>${rest.map((c) => `<td>${escapeHtml(c)}</td>`).join('')}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}"><table><caption>${escapeHtml(caption)}</caption><thead><tr>${th}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

/** A figure with its caption and legend; nothing for undefined. */
export function figureHtml(figure: Figure | undefined): string {
  if (!figure) return '';
  const { id, title, note, svg } = figure;
  return `<figure aria-labelledby="${id}"><figcaption><span class="title" id="${id}">${escapeHtml(title)}</span>${escapeHtml(note)}</figcaption>${LEGEND}<div class="scroll" tabindex="0" role="region" aria-labelledby="${id}">${svg}</div></figure>`;
}

/** What a reader must not miss; nothing for none. */
export function warningBox(warnings: readonly string[]): string {
  if (warnings.length === 0) return '';
  const title = warnings.length === 1 ? 'Warning' : `${warnings.length} warnings`;
  return `<section class="warnings" aria-labelledby="warnings"><h2 id="warnings">${title}</h2><ul>${warnings.map((w) => `<li>${escapeHtml(w)}</li>`).join('')}</ul></section>`;
}

/** Names and values; values are escaped, names are fixed text. */
export function facts(list: readonly (readonly [name: string, value: string])[]): string {
  return `<dl>${list.map(([name, value]) => `<dt>${name}</dt><dd>${escapeHtml(value)}</dd>`).join('')}</dl>`;
}

/** What a page is called, and whether its tables need the width of the window. */
export interface PageHead {
  title: string;
  kicker: string;
  heading: string;
  wide?: boolean;
}

/** A whole self-contained page: no script, no network. @param body HTML */
export function page({ title, kicker, heading, wide = false }: PageHead, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${CSS}</style>
</head>
<body>
<main${wide ? ' class="wide"' : ''}>
<p class="kicker">${escapeHtml(kicker)}</p>
<h1>${escapeHtml(heading.replaceAll(' %', '\u00a0%'))}</h1>
${body}
</main>
</body>
</html>
`;
}
