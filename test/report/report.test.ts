import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { parseHTML } from 'linkedom';
import { curvePoints } from '../../ts/report/curve-points.js';
import { headline, renderReport } from '../../ts/report/report.js';
import { writeReport } from '../../ts/report/write-report-node.js';
import { run, sample } from './sample.js';

const hostile = '</title></svg></style><img src=x onerror="a"> & \'';
const nasty = sample({
  model: hostile,
  data: hostile,
  method: hostile,
  density: hostile,
  machine: hostile,
  command: hostile,
  version: hostile,
  date: hostile,
  runs: [
    run('PEFT', 1, { metricName: hostile, warnings: [hostile], layerNames: [hostile] }),
    run('DEFT', 1, { metricName: hostile }),
  ],
});

test('every string of the result is escaped, also inside the figures', (t) => {
  const html = renderReport(nasty);
  t.false(html.includes('<img'));
  // In text (the figures' tooltips and axis labels) a bare quote is harmless.
  t.false(/<[^>]*onerror="/.test(html.replace(/&lt;[^<]*/g, '')));
  t.true(html.includes(`${'&lt;/title&gt;&lt;/svg&gt;&lt;/style&gt;&lt;img src=x onerror="a"&gt; &amp; '}' %</text>`));
  t.is(html.match(/<\/title><\/svg>/g), null);
  t.true(html.includes('&lt;img src=x onerror=&quot;a&quot;&gt; &amp; &#39;'));
});

test('the page loads nothing and runs nothing', (t) => {
  for (const result of [sample(), nasty]) {
    const html = renderReport(result);
    t.false(/<script|<link|<iframe|@import|url\(/i.test(html));
    t.false(/https?:/i.test(html.replace(/xmlns(:\w+)?="[^"]*"/g, '')));
  }
});

test('four labelled figures, tables with scoped headers, warnings', (t) => {
  const result = sample();
  result.runs[1]!.warnings.push('collapsed to one class');
  const { document } = parseHTML(renderReport(result));
  const figures = [...document.querySelectorAll('figure')];
  t.is(figures.length, 4);
  for (const figure of figures) {
    t.truthy(figure.querySelector('figcaption .title')?.textContent);
    const svg = figure.querySelector('.scroll svg');
    t.is(svg?.getAttribute('role'), 'img');
    t.truthy(svg?.getAttribute('aria-label'));
    t.false(/NaN|undefined/.test(svg!.outerHTML));
  }
  for (const th of document.querySelectorAll('th')) t.truthy(th.getAttribute('scope'));
  t.true(document.querySelector('.warnings')!.textContent!.includes('DEFT, seed 1: collapsed to one class'));
  t.is(document.querySelectorAll('table').length, 3);
});

test('odd results still render', (t) => {
  for (const runs of [
    [],
    [run('DEFT', 1, { log: [], layerDensity: [], layerNames: [] })],
    [
      run('PEFT', 1, { metric: NaN, density: NaN, layerDensity: [NaN] }),
      run('DEFT', 1, { density: 0, layerDensity: [0] }),
    ],
    [run('PEFT', 1, { log: run('PEFT', 1).log.slice(0, 1) }), run('DEFT', 2)],
  ]) {
    t.false(renderReport(sample({ runs })).includes('NaN'));
  }
});

test('headline', (t) => {
  const pair = [run('PEFT', 1, { metric: 0.9, density: 0.5 }), run('DEFT', 1, { metric: 0.89, density: 0.25 })];
  t.is(
    headline(sample({ runs: pair })),
    'DEFT lowered density by 50.0 %, from 50.00 % to 25.00 %; accuracy fell by 1.00 points (one seed).',
  );
  t.is(headline(sample({ runs: [] })), 'This comparison has no runs.');
  t.true(headline(sample({ runs: pair.slice(1) })).startsWith('DEFT reached 89.0 % accuracy at 25.00 % density'));
});

test('long curves are averaged in groups', (t) => {
  const points = Array.from({ length: 6 }, (_, i) => ({ step: i, value: i * 10 }));
  t.deepEqual(curvePoints(points, 5, 3), [
    { step: 0.5, value: 5 },
    { step: 2.5, value: 25 },
    { step: 4.5, value: 45 },
  ]);
  t.deepEqual(curvePoints(points, 6), points);
  t.deepEqual(curvePoints([{ step: 1, value: NaN }]), []);
});

test('writeReport leaves report.html and report.json', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-report-'));
  try {
    const path = writeReport(join(folder, 'out'), sample());
    t.is(path, join(folder, 'out', 'report.html'));
    t.deepEqual(readdirSync(join(folder, 'out')).sort(), ['report.html', 'report.json']);
    t.deepEqual(JSON.parse(readFileSync(join(folder, 'out', 'report.json'), 'utf8')), sample());
  } finally {
    rmSync(folder, { recursive: true });
  }
});
