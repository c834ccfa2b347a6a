import Table from 'cli-table3';
import type { CompareResult } from './compare-result.js';
import { formatSpread, NONE } from './format-spread.js';
import { plain } from './plain.js';
import { seriesOf } from './series.js';
import { collectWarnings, summarize, withAlpha } from './summarize.js';

export interface CompareRows {
  head: string[];
  rows: string[][];
}

/** The cells of the comparison table, shared by the terminal, Markdown and HTML. */
export function compareRows(result: CompareResult): CompareRows {
  const summary = summarize(result);
  const hasSides = result.runs.some(({ encoderDensity }) => encoderDensity !== undefined);
  const skips = result.runs.some(({ skippedMlps }) => skippedMlps !== undefined);
  const otherSets = result.runs[0]?.otherSets ?? [];
  const rows = seriesOf(result.runs).flatMap(({ name, variant, alpha }) => {
    const { peft, deft, densityChange } = summarize(withAlpha(result, alpha));
    const v = variant === 'PEFT' ? peft : deft;
    if (!v) return [];
    return [
      [
        name,
        formatSpread(v.metric, 100),
        ...otherSets.map((_, set) => formatSpread(v.otherMetrics[set], 100)),
        formatSpread(v.density, 100),
        ...(hasSides ? [formatSpread(v.encoderDensity, 100), formatSpread(v.decoderDensity, 100)] : []),
        variant === 'DEFT' ? formatSpread(densityChange) : NONE,
        ...(skips ? [formatSpread(v.skippedMlps, 1, 1)] : []),
        formatSpread(v.seconds, 1, 1),
        String(v.seeds.length),
      ],
    ];
  });
  const sides = hasSides ? ['encoder %', 'decoder %'] : [];
  const others = otherSets.map(({ name, metricName }) => `${metricName} (${name}) %`);
  const head = [
    '',
    `${summary.metricName} %`,
    ...others,
    'density %',
    ...sides,
    'density change %',
    ...(skips ? ['MLPs skipped'] : []),
    'seconds',
    'seeds',
  ];
  return { head, rows };
}

/** How to read the table. */
export function tableNote(result: CompareResult): string {
  const several = new Set(result.runs.map(({ seed }) => seed)).size > 1;
  const spread = several ? 'Mean ± sample standard deviation over seeds. ' : '';
  const paired = several ? ', paired by seed' : '';
  return `${spread}Density change = (PEFT − DEFT) / PEFT${paired}: positive means DEFT is sparser.`;
}

function facts(result: CompareResult): string {
  return `${result.model} · ${result.data} · ${result.method} · density: ${result.density}`;
}

/** The comparison as a terminal table without colours, ending in a line of model, data and method. */
export function compareTable(result: CompareResult): string {
  const { head, rows } = compareRows(result);
  const table = new Table({
    head: head.map(plain),
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  });
  for (const row of rows) table.push(row.map(plain));
  const warnings = collectWarnings(result).map((w) => `warning: ${plain(w)}`);
  return [table.toString(), plain(facts(result)), tableNote(result), ...warnings].join('\n');
}

function markdown(text: string): string {
  return plain(text)
    .replace(/[\\|*_`[\]]/g, '\\$&')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;');
}

/** The comparison as a Markdown table, with the same lines below it. */
export function compareMarkdown(result: CompareResult): string {
  const { head, rows } = compareRows(result);
  const line = (cells: string[]) => `| ${cells.map(markdown).join(' | ')} |`;
  const warnings = collectWarnings(result).map((w) => `- **Warning:** ${markdown(w)}`);
  return [
    line(head),
    `| ${head.map((_, i) => (i === 0 ? ':--' : '--:')).join(' | ')} |`,
    ...rows.map(line),
    '',
    markdown(facts(result)),
    '',
    tableNote(result),
    ...(warnings.length > 0 ? ['', ...warnings] : []),
  ].join('\n');
}
