import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { parseHTML } from 'linkedom';
import { activationFigure } from '../../ts/report/figures/activation-figure.js';
import { percentDomain } from '../../ts/report/plot.js';
import { curvePoints } from '../../ts/report/curve-points.js';
import { headline, renderReport, runFigures } from '../../ts/report/report.js';
import { writeReport } from '../../ts/report/write-report-node.js';
import { run, sample } from './sample.js';

const activations = {
  ...{ layer: 'encoder.layer.0', neurons: 8, stride: 2, density: 0.5 },
  tokens: ['[CLS]', 'a'],
  magnitudes: ['1109', '0303'],
};

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
    run('PEFT', 1, {
      metricName: hostile,
      warnings: [hostile],
      layerNames: [hostile],
      activations: { ...activations, layer: hostile, tokens: [hostile, hostile] },
    }),
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

test('labelled figures, tables with scoped headers, warnings', (t) => {
  const result = sample();
  result.runs[0]!.activations = activations;
  result.runs[1]!.activations = { ...activations, density: 0.25, magnitudes: ['0009', '0000'] };
  result.runs[1]!.warnings.push('collapsed to one class');
  const { document } = parseHTML(renderReport(result));
  const figures = [...document.querySelectorAll('figure')];
  t.is(figures.length, 6);
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

test('writeReport leaves the page, its data, and figures and tables as files of their own', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'deftune-report-'));
  try {
    const path = writeReport(join(folder, 'out'), sample());
    t.is(path, join(folder, 'out', 'report.html'));
    t.deepEqual(readdirSync(join(folder, 'out')).sort(), [
      ...[
        'curves.csv',
        'density-by-layer.svg',
        'density-during-training.svg',
        'layers.csv',
        'report.html',
        'report.json',
      ],
      ...['runs.csv', 'task-loss.svg', 'time-and-density.svg', 'trade-off.svg'],
    ]);
    const svg = readFileSync(join(folder, 'out', 'trade-off.svg'), 'utf8');
    t.regex(svg, /^<\?xml [^>]*>\n<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    t.notRegex(svg, /var\(--|NaN/);
    t.deepEqual(JSON.parse(readFileSync(join(folder, 'out', 'report.json'), 'utf8')), sample());
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('alternative texts hold the main figures', (t) => {
  const result = sample({
    runs: [run('PEFT', 1, { activations }), run('DEFT', 1, { layerDensity: [0.25], metric: 0.5, density: 0.1 })],
  });
  const { document } = parseHTML(renderReport(result));
  const texts = [...document.querySelectorAll('figure .scroll svg')].map((svg) => svg.getAttribute('aria-label'));
  t.true(texts.some((text) => text?.includes('DEFT 25.0 to 25.0')));
  t.true(texts.some((text) => text?.includes('DEFT 50.00 at 10.00')));
  t.true(texts.some((text) => text?.includes('2 tokens by 4 neurons: PEFT, seed 1: 50.00 % not zero')));
});

test('an activation map draws what is not zero, neighbours of one magnitude in one', (t) => {
  const { svg } = activationFigure([run('PEFT', 1, { activations })])!;
  // Rows 3 and 4: the title has three.
  for (const d of ['M0 3h2v1h-2z', 'M3 3h1v1h-1z', 'M1 4h1v1h-1zM3 4h1v1h-1z']) t.true(svg.includes(`"${d}"`), d);
  t.is(svg.match(/M\d+ [34]h/g)?.length, 5);
  t.is(activationFigure([run('PEFT', 1)]), undefined);
});

test('axes of densities end at 100', (t) => {
  const high = [
    run('PEFT', 1, { density: 0.999, layerDensity: [0.999, 1] }),
    run('DEFT', 1, { density: 0.2, layerDensity: [0.2] }),
  ];
  t.deepEqual(percentDomain([99.9, 20]), [0, 100]);
  t.deepEqual(percentDomain([12, 20]), [0, 20]);
  const ofDensity = runFigures(high, 'accuracy').filter(({ id }) => ['density-by-layer', 'trade-off'].includes(id));
  t.is(ofDensity.length, 2);
  for (const { svg } of ofDensity) t.notRegex(svg, />1[1-9]\d</);
});
