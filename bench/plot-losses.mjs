// node bench/plot-losses.mjs OUT.svg NAME=LOG.jsonl ...: the training losses of runs (`deftune train --log`), each point the mean of 20 steps.
import { readFileSync, writeFileSync } from 'node:fs';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

const STEPS = 20;
const [out, ...runs] = process.argv.slice(2);
const points = runs.flatMap((run) => {
  const [name, file] = run.split('=');
  const steps = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((line) => !line.eval);
  return Array.from({ length: Math.floor(steps.length / STEPS) }, (_, at) => {
    const part = steps.slice(at * STEPS, (at + 1) * STEPS);
    return { name, step: part.at(-1).step, loss: part.reduce((sum, { loss }) => sum + loss, 0) / STEPS };
  });
});
const { document } = parseHTML('<html></html>');
const svg = Plot.plot({
  document,
  width: 640,
  height: 300,
  color: {
    legend: false,
    domain: [...new Set(points.map(({ name }) => name))],
    range: ['#4269d0', '#d65f00', '#2a8c4a'],
  },
  y: { grid: true, label: 'training loss' },
  marks: [
    Plot.line(points, { x: 'step', y: 'loss', stroke: 'name' }),
    Plot.dot(points, { x: 'step', y: 'loss', stroke: 'name', symbol: 'name', r: 3 }),
    ...[...new Set(points.map(({ name }) => name))].map((name, row) =>
      Plot.text([name], {
        text: (text) => text,
        fill: () => name,
        frameAnchor: 'top-right',
        lineAnchor: 'top',
        dy: 14 * row,
      }),
    ),
  ],
});
svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
svg.setAttribute('style', 'background: white');
writeFileSync(out, `${svg.outerHTML}\n`);
