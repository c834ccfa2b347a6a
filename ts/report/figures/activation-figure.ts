import * as Plot from '@observablehq/plot';
import type { ActivationSample } from '../../density/activation-sample.js';
import type { RunResult, RunVariant } from '../compare-result.js';
import { plotSvg, type Figure } from '../plot.js';
import { runName, seriesOf } from '../series.js';
import { VARIANT_STYLE } from '../variant-style.js';

/** Heights in rows, and of a row in pixels. */
const [TITLE_ROWS, ROW] = [3, 9];

interface PlacedMap {
  name: string;
  variant: RunVariant;
  sample: ActivationSample;
  /** Row of its first token. */
  top: number;
}

/**
 * Maps of one layer's activations for one example, tokens by neurons, one below the other: the first run of each series that has one.
 * Undefined where none has.
 */
export function activationFigure(runs: readonly RunResult[]): Figure | undefined {
  const series = seriesOf(runs);
  const several = series.length > 2;
  const maps: PlacedMap[] = [];
  let top = TITLE_ROWS;
  for (const run of series.flatMap((one) => one.runs.find(({ activations }) => activations) ?? [])) {
    const sample = run.activations as ActivationSample;
    maps.push({ name: runName(run, several), variant: run.variant, sample, top });
    top += sample.tokens.length + TITLE_ROWS;
  }
  const [first] = maps;
  if (!first) return undefined;
  const columns = first.sample.magnitudes[0]?.length ?? 0;
  const { layer, neurons, stride } = first.sample;
  const title = ({ name, sample: { density } }: PlacedMap): string =>
    `${name}: ${(density * 100).toFixed(2)} % not zero`;
  const cells: Plot.RenderFunction = (_index, { x, y }, _values, _dimensions, context) => {
    const { document } = context as unknown as { document: Document };
    const group = document.createElementNS('http://www.w3.org/2000/svg', 'g');
    const [left = 0, above = 0] = [x?.(0), y?.(0)] as number[];
    const scale = `${(((x?.(1) as number) - left) as number).toFixed(4)} ${((y?.(1) as number) - above).toFixed(4)}`;
    group.setAttribute('transform', `translate(${left} ${above}) scale(${scale})`);
    group.setAttribute('shape-rendering', 'crispEdges');
    for (const { variant, sample, top: row } of maps) {
      const frame = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      frame.setAttribute('d', `M0 ${row}h${columns}v${sample.tokens.length}h-${columns}z`);
      frame.setAttribute('fill', 'currentColor');
      frame.setAttribute('fill-opacity', '0.05');
      group.append(frame);
      for (let level = 1; level <= 9; level++) {
        const d = sample.magnitudes.map((digits, index) => spans(digits, level, row + index)).join('');
        if (d === '') continue;
        const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
        path.setAttribute('d', d);
        path.setAttribute('fill', VARIANT_STYLE[variant].color);
        path.setAttribute('fill-opacity', (0.28 + 0.08 * level).toFixed(2));
        group.append(path);
      }
    }
    return group as unknown as SVGElement;
  };
  const labels = maps.flatMap(({ sample, top: row }) =>
    sample.tokens.map((token, index) => ({
      row: row + index + 0.5,
      text: token.length > 12 ? `${token.slice(0, 11)}…` : token,
    })),
  );
  const svg = plotSvg(
    `Activation maps of ${layer}, ${first.sample.tokens.length} tokens by ${columns} neurons: ${maps.map(title).join('; ')}`,
    {
      height: top * ROW + 30,
      marginLeft: 90,
      marginTop: 4,
      x: {
        label: stride > 1 ? `Neuron (every ${stride}th of ${neurons})` : `Neuron (${neurons})`,
        domain: [0, columns],
        tickFormat: (at: number) => String(at * stride),
        labelAnchor: 'center',
        labelArrow: 'none',
      },
      y: { domain: [0, top], range: [4, top * ROW + 4], axis: null },
      marks: [
        cells,
        Plot.text(labels, { x: 0, y: 'row', text: 'text', textAnchor: 'end', dx: -6, fontSize: 9.5 }),
        Plot.text(maps, {
          x: 0,
          y: (map: PlacedMap) => map.top - 1.2,
          text: title,
          textAnchor: 'start',
          fontWeight: 600,
        }),
      ],
    },
  );
  return {
    id: 'activation-maps',
    title: `Activations before and after: ${layer}`,
    note: 'The first validation example after training. Empty: an exact zero; the stronger the colour, the larger the magnitude, by powers of two.',
    svg,
  };
}

/** The rectangles of a row whose digit is `level`, neighbours in one, as path commands. */
function spans(digits: string, level: number, row: number): string {
  let d = '';
  for (const match of digits.matchAll(new RegExp(`${level}+`, 'g'))) {
    const { length } = match[0];
    d += `M${match.index} ${row}h${length}v1h-${length}z`;
  }
  return d;
}
