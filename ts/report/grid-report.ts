import type { RunResult } from './compare-result.js';
import { escapeHtml } from './escape-html.js';
import { activationFigure } from './figures/activation-figure.js';
import { curveFigure, CURVES } from './figures/curve-figure.js';
import { datasetFigures } from './figures/dataset-figure.js';
import { layerFigure } from './figures/layer-figure.js';
import { timeFigure } from './figures/time-figure.js';
import { tradeOffFigure } from './figures/trade-off-figure.js';
import { GRID_FIGURES, groupName, type GridResult } from './grid-result.js';
import { gridNotes, gridRows, gridWarnings } from './grid-table.js';
import { facts, figureHtml, page, table, warningBox } from './page.js';
import type { Figure } from './plot.js';
import { summarize } from './summarize.js';

type GroupFigure = Exclude<(typeof GRID_FIGURES)[number], 'by-dataset'>;

/** What the figures of one group are made by. */
const GROUP_FIGURES: Record<GroupFigure, (runs: readonly RunResult[], metricName: string) => (Figure | undefined)[]> = {
  layers: (runs) => [layerFigure(runs)],
  activations: (runs) => [activationFigure(runs)],
  curves: (runs) => CURVES.map((curve) => curveFigure(runs, curve)),
  'trade-off': (runs, metricName) => [tradeOffFigure(runs, metricName)],
  time: (runs) => [timeFigure(runs)],
};

/** The figures that the grid asks for. */
export function gridFigures({ groups, figures }: Pick<GridResult, 'groups' | 'figures'>): Figure[] {
  const finished = groups.filter(({ runs }) => runs.length > 0);
  const ofGroups = finished.flatMap((group, index) =>
    figures
      .filter((name) => name !== 'by-dataset')
      .flatMap((name) => GROUP_FIGURES[name](group.runs, summarize(group).metricName))
      .filter((figure) => figure !== undefined)
      .map((figure) => ({ ...figure, id: `${figure.id}-${index + 1}`, title: `${figure.title}: ${groupName(group)}` })),
  );
  return [...(figures.includes('by-dataset') ? datasetFigures(finished) : []), ...ofGroups];
}

/** The grid as one self-contained HTML page: no script, no network, figures as inline SVG. Every string of `result` is escaped. */
export function renderGridReport(result: GridResult): string {
  const { head, rows } = gridRows(result);
  const done = `${result.runsDone} of ${result.runsPlanned} runs`;
  const figures = gridFigures(result).map(figureHtml);
  const groups = result.groups.map((group) => [
    groupName(group),
    group.method,
    group.density,
    `${group.trainExamples.toLocaleString('en-US')}, ${group.validExamples.toLocaleString('en-US')}`,
  ]);
  const skipped = result.skipped.map(({ what, reason }) => [what, reason]);
  return page(
    { title: `PEFT vs DEFT: ${result.title}`, kicker: `PEFT vs DEFT · ${done}`, heading: result.title, wide: true },
    `${warningBox(gridWarnings(result))}
${table('Ours beside the paper', head, rows)}
${gridNotes(result)
  .map((note) => `<p class="dim">${escapeHtml(note)}</p>`)
  .join('\n')}
${skipped.length > 0 ? `<h2>Skipped</h2>\n${table('What is not here', ['What', 'Why'], skipped)}` : ''}
${figures.length > 0 ? `<h2>Figures</h2>\n${figures.join('\n')}` : ''}
<h2>How it was run</h2>
<pre><code>${escapeHtml(result.command)}</code></pre>
${table('Settings', ['Place', 'Method', 'Density loss', 'Training, validation examples'], groups)}
${facts([
  ['Runs', done],
  ['Machine', result.machine],
  ['Date', result.date],
  ['Version', `deftune ${result.version}`],
])}`,
  );
}
